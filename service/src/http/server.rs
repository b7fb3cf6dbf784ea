//! Starting and stopping the servers, so that the engine knows nothing of them but this file.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use rustls::ServerConfig;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower_http::compression::CompressionLayer;

use super::access::{self, Access};
use super::answer::{ApiError, error_answer, no_such_method, no_such_route};
use super::connection::{BoundedListener, MAX_CONNECTIONS};
use super::extract::MAX_BODY_BYTES;
use super::gate::{self, Gate};
use super::host::Hosts;
use super::needed_role::{self, NeededRole};
use super::shared::{Shared, Site};
use super::unsent::{self, Bound};
use super::web_app::{self, text_answer};
use super::{
    alerts, anomalies, charts, dashboard, graphite, headers, live, metrics, models, openapi, overview, taurus,
};
use crate::api_key::ApiKey;
use crate::config::table::Entry;
use crate::live_setting::LiveSetting;
use crate::operations::Operations;
use crate::operations::overview::Gauge;
use crate::sample::SampleLimits;
use crate::self_metrics;
use crate::tls::TlsFiles;

/// Files that one server may have open: its connections.
pub const FILES_PER_SERVER: u64 = MAX_CONNECTIONS as u64;
/// How long stopping waits for answers that have begun.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Which servers to run, and where.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HttpOptions {
    /// The API; `None` for none.
    pub api: Option<SocketAddr>,
    /// Whether somebody named its address; where nobody did, one that is taken is only warned of.
    pub is_api_asked_for: bool,
    /// The skeleton web application; `None` for none.
    pub web_app: Option<SocketAddr>,
    /// Whether its metrics keep the leading slash of their path in their name.
    pub slash_names: bool,
    /// What a sample may look like.
    pub limits: SampleLimits,
    /// One of them requests must show; without any, everybody is let in.
    pub keys: Vec<ApiKey>,
    /// Whether everybody may be let in on an address that others can reach.
    pub is_open: bool,
    /// Certificate and key; `None` for plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Names by which requests may call the servers, beside those of this machine.
    pub hosts: Vec<String>,
    /// Where the engine leaves its figures.
    pub data_dir: PathBuf,
    /// The effective settings of this process, for people.
    pub settings: LiveSetting<Vec<Entry>>,
}

/// Where servers are, and whether everybody may be let in wherever that is.
#[derive(Debug, Clone, Copy)]
struct Reach {
    api: Option<SocketAddr>,
    web_app: Option<SocketAddr>,
    is_open: bool,
}

impl Reach {
    /// An address that others can reach needs a key, or somebody's word that it does not.
    fn check(&self, keys: &[ApiKey]) -> Result<(), BindError> {
        if !keys.is_empty() || self.is_open {
            return Ok(());
        }
        let reachable = [("http", self.api), ("web_app", self.web_app)]
            .into_iter()
            .find_map(|(setting, address)| Some((setting, address.filter(|it| !it.ip().is_loopback())?)));
        reachable.map_or(Ok(()), |(setting, address)| {
            Err(BindError {
                reason: format!(
                    "`{setting}` is {address}, which other machines can reach, and there is no API key: make one \
                     with `htmengine key new`, set `http_key` in the settings file or HTMENGINE_HTTP_KEY, give `{setting}` a loopback address, or say \
                     --http-open if everybody may read and change everything"
                ),
            })
        })
    }
}

/// The running servers; dropping stops them.
pub struct HttpServer {
    /// Of what runs.
    reach: Reach,
    keys: LiveSetting<Vec<ApiKey>>,
    tls: Option<LiveSetting<ServerConfig>>,
    stop: watch::Sender<bool>,
    servers: Vec<JoinHandle<()>>,
    runtime: Handle,
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("HttpServer");
        shown.field("reach", &self.reach).finish_non_exhaustive()
    }
}

impl HttpServer {
    /// Binds and serves what the options ask for, on `runtime`; perhaps nothing. To be called and dropped outside of
    /// the runtime.
    ///
    /// # Errors
    /// [`BindError`] if an address cannot be bound, or certificate or key cannot be used.
    pub fn start(
        options: HttpOptions,
        operations: Arc<Operations>,
        runtime: &Handle,
    ) -> Result<Self, BindError> {
        let HttpOptions { api, web_app, is_open, .. } = options;
        Reach { api, web_app, is_open }.check(&options.keys)?;
        let tls = options.tls.as_ref().map(TlsFiles::server_config).transpose();
        let tls = tls.map_err(|reason| BindError { reason })?.map(LiveSetting::new);
        let keys = LiveSetting::new(options.keys);
        let access = |address: SocketAddr, needed_role, refusal| Access {
            keys: keys.clone(),
            needed_role,
            hosts: Hosts::new(&options.hosts, address.ip().is_loopback()),
            refusal,
        };
        let site = Site {
            keys: keys.clone(),
            limits: options.limits,
            slash_names: options.slash_names,
            settings: options.settings,
            gauge: Gauge::new(&options.data_dir),
        };
        let shared = Shared::new(operations, site);
        let (stop, stopped) = watch::channel(false);
        let mut server = Self {
            reach: Reach { api: None, web_app: None, is_open },
            keys: keys.clone(),
            tls,
            stop,
            servers: Vec::new(),
            runtime: runtime.clone(),
        };
        if let Some(address) = api {
            self_metrics::switch_on();
            let access = access(address, needed_role::of_api as NeededRole, refused as Refusal);
            let router = guarded(api_routes(), access, error_answer, &shared).with_state(shared.clone());
            match server.serve("http", address, router, stopped.clone()) {
                Ok(bound) => server.reach.api = Some(bound),
                Err(error) if options.is_api_asked_for => return Err(error),
                Err(error) => tracing::warn!("no dashboard: {error}"),
            }
        }
        if let Some(address) = web_app {
            let access = access(address, needed_role::of_web_app, refused_text);
            let router = guarded(web_app::routes(), access, too_slow_text, &shared).with_state(shared);
            server.reach.web_app = Some(server.serve("web_app", address, router, stopped)?);
        }
        Ok(server)
    }

    fn serve(
        &mut self,
        setting: &'static str,
        address: SocketAddr,
        router: Router,
        mut stopped: watch::Receiver<bool>,
    ) -> Result<SocketAddr, BindError> {
        let _inside = self.runtime.enter();
        let bound = std::net::TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            let bound = listener.local_addr()?;
            Ok((tokio::net::TcpListener::from_std(listener)?, bound))
        });
        let (listener, bound) = bound.map_err(|error| BindError {
            reason: format!("HTTP cannot be served on {address}: {error}; give `{setting}` another address"),
        })?;
        let serving = axum::serve(BoundedListener::new(listener, self.tls.clone()), router)
            .with_graceful_shutdown(async move {
                // The sender being gone means the same.
                let _ = stopped.wait_for(|is_stopped| *is_stopped).await;
            });
        self.servers.push(self.runtime.spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!("the HTTP server on {bound} ended: {error}");
            }
        }));
        Ok(bound)
    }

    /// Where the API is served.
    pub fn api_address(&self) -> Option<SocketAddr> {
        self.reach.api
    }

    /// Where the skeleton web application is served.
    pub fn web_app_address(&self) -> Option<SocketAddr> {
        self.reach.web_app
    }

    /// Whether they speak TLS, and nothing else.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// From now on requests must show one of these keys.
    ///
    /// # Errors
    /// If there are none, and others can reach the servers; the keys stay as they were then.
    pub fn set_keys(&self, keys: Vec<ApiKey>) -> Result<(), BindError> {
        self.reach.check(&keys)?;
        self.keys.set(keys);
        Ok(())
    }

    /// From now on new connections are shown the certificate that is in these files now.
    ///
    /// # Errors
    /// If it cannot be used, or if TLS would have to begin or end; the certificate stays as it was then.
    pub fn renew_certificate(&self, files: Option<&TlsFiles>) -> Result<(), BindError> {
        let renewed = match (&self.tls, files) {
            (None, None) => Ok(()),
            (Some(tls), Some(files)) => files.server_config().map(|config| tls.set(config)),
            (Some(_), None) => Err("TLS ends with a restart only".to_owned()),
            (None, Some(_)) => Err("TLS begins with a restart only".to_owned()),
        };
        renewed.map_err(|reason| BindError { reason })
    }

    /// Takes no more requests, and waits a while for answers that have begun.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        // Nobody listening any more is as good.
        let _ = self.stop.send(true);
        let servers = std::mem::take(&mut self.servers);
        self.runtime.block_on(async move {
            for mut server in servers {
                if timeout(STOP_TIMEOUT, &mut server).await.is_err() {
                    server.abort();
                }
            }
        });
    }
}

/// Every route of the API; more can be merged in.
fn api_routes() -> Router<Shared> {
    metrics::routes()
        .merge(models::routes())
        .merge(overview::routes())
        .merge(anomalies::routes())
        .merge(charts::routes())
        .merge(live::routes())
        .merge(openapi::routes())
        .merge(alerts::routes())
        .merge(dashboard::routes())
        .merge(taurus::routes())
        .merge(graphite::routes())
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

/// What a refusal looks like.
type Refusal = fn(StatusCode, &str, &str) -> Response;

/// Compressed for those who take it, let in, bounded, and with headers for browsers.
pub(super) fn guarded(
    routes: Router<Shared>,
    access: Access,
    too_slow: fn(StatusCode, &str) -> Response,
    shared: &Shared,
) -> Router<Shared> {
    let bound = Bound { unsent: shared.unsent.clone(), refusal: access.refusal };
    routes
        .layer(from_fn_with_state(bound, unsent::bound))
        .layer(CompressionLayer::new())
        .layer(from_fn_with_state(access, access::check))
        .layer(from_fn_with_state(Gate::new(too_slow), gate::pass))
        .layer(map_response(headers::secured))
}

pub(super) fn refused(status: StatusCode, name: &str, message: &str) -> Response {
    ApiError::new(status, name, message).into_response()
}

fn refused_text(status: StatusCode, _: &str, message: &str) -> Response {
    text_answer(status, format!("{message}\n"))
}

fn too_slow_text(status: StatusCode, message: &str) -> Response {
    text_answer(status, format!("{message}\n"))
}

/// Why a server did not start, or did not take up what was changed: found, expected, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindError {
    reason: String,
}

impl fmt::Display for BindError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)
    }
}

impl std::error::Error for BindError {}
