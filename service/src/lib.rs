//! The service shell around the models: from a Graphite line to a finished row and a published result.
//!
//! Modules in the order of the flow. The role rooms (`listener`, `storer`, `scheduler`, `anomaly`, `alerts`) never
//! name one another; they meet only in messages on the [`bus`] and rows in the [`repository`]. [`engine`] wires them up.

#![forbid(unsafe_code)]

pub mod clock;

pub mod profiling;

pub mod log_limiter;

pub mod live_setting;

pub mod stoppable_pause;

pub mod stoppable_thread;

pub mod self_metrics;

pub mod self_series;

pub mod machine;

pub mod tls;

pub mod file_system;

pub mod timestamp;

pub mod sample;

pub mod reject;

pub mod best_predictions;

pub mod row_detection;

pub mod bus;

pub mod repository;

pub mod listener;

pub mod storer;

pub mod model_params;

pub mod learned_range;

pub mod monitoring;

pub mod api_key;

pub mod signals;

pub mod operations;

pub(crate) mod graphite;

pub mod scheduler;

pub mod anomaly;

pub mod results;

pub mod alerts;

pub mod http;

pub mod garbage;

pub mod backends;

pub mod config;

pub mod control;

pub mod engine;

pub mod backup;

pub mod benchmark;

pub mod traffic_scenario;

pub mod cli;
