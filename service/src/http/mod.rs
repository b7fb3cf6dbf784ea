//! The HTTP interfaces: our own API with Taurus' routes beside it, and the skeleton web application on its own port.
//!
//! Files: `server.rs` starts and stops; `connection.rs` bounds connections, `gate.rs` requests, `access.rs` lets in
//! whom `needed_role.rs` allows and `host.rs` knows; `headers.rs` says to browsers what they may not do with answers;
//! `shared.rs` is what handlers work with; `answer.rs` and `extract.rs` are the ways out and in, `unsent.rs` bounds what waits to
//! go out. `/api/v1` is in
//! `metrics.rs`, `models.rs`, `samples.rs`, `charts.rs`, `anomalies.rs`, `live.rs` and `overview.rs`, and described in
//! `openapi.rs`; `dashboard.rs` serves the pages for people; `graphite.rs` and its folder are the read side of Graphite, which
//! Grafana asks; `taurus.rs` has the old application's routes, `web_app.rs` the skeleton's, `traffic_app.rs` those of the
//! traffic tutorial's server.
//!
//! Invariants: handlers never block the runtime (the repository is asked on its blocking threads); bodies, rows in
//! memory, unsent answers, requests, connections and times are bounded; every error of the API is JSON,
//! `{"error": {"name", "code", "message"}}`.
//!
//! Source: htmengine's operations have no HTTP of their own; shapes of the old routes are those of `taurus_engine` and of
//! skeleton-htmengine-app's `webapp.py`.

mod access;
mod alerts;
mod anomalies;
mod answer;
mod charts;
mod connection;
mod dashboard;
mod extract;
mod gate;
mod graphite;
mod headers;
mod host;
mod live;
mod metrics;
mod models;
pub mod needed_role;
mod openapi;
mod overview;
mod samples;
pub mod server;
mod shared;
mod taurus;
mod traffic_app;
mod unsent;
mod web_app;
