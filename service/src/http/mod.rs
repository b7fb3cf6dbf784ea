//! The HTTP interfaces: our own API with Taurus' routes beside it, and the skeleton web application on its own port.
//!
//! **There is no authentication yet.** Whoever reaches the port may do everything; so it is off unless asked for, and
//! belongs on a loopback address or behind something that asks who is there.
//!
//! Files: `server.rs` starts and stops; `connection.rs` bounds connections; `gate.rs` bounds requests; `shared.rs` is what
//! handlers work with; `answer.rs` and `extract.rs` are the ways out and in; `metrics.rs`, `models.rs`, `samples.rs` and
//! `overview.rs` are `/v1`; `taurus.rs` the old application's routes; `graphite.rs` and its folder
//! the read side of Graphite, which Grafana asks; `web_app.rs` the skeleton's.
//!
//! Invariants: handlers never block the runtime (the repository is asked on its blocking threads); bodies, rows in
//! memory, requests, connections and times are bounded; every error of the API is JSON,
//! `{"error": {"name", "code", "message"}}`.
//!
//! Source: htmengine's operations have no HTTP of their own; shapes of the old routes are those of `taurus_engine` and of
//! skeleton-htmengine-app's `webapp.py`.

mod answer;
mod connection;
mod extract;
mod gate;
mod graphite;
mod metrics;
mod models;
mod overview;
mod samples;
pub mod server;
mod shared;
mod taurus;
mod web_app;
