//! What the promise tests share: reading the recorded data, digests of deep state, lives of a temporal memory with
//! the checks that go with them, reading the source tree, and driving the engine: in this process, as a program, with a
//! client's sockets and a look at its rows.

#[cfg(feature = "engine")]
pub mod alert_conformance;
#[cfg(feature = "engine")]
pub mod browser;
pub mod http_client;
#[cfg(feature = "engine")]
pub mod lone_run;
pub mod memory_invariants;
pub mod memory_scenario;
pub mod nab_checkout;
pub mod naive_plain_memory;
pub mod naive_spatial_pooler;
pub mod old_configuration;
#[cfg(feature = "engine")]
pub mod private_mariadb;
#[cfg(feature = "engine")]
pub mod private_rabbitmq;
#[cfg(feature = "engine")]
pub mod program;
pub mod python;
pub mod recording;
#[cfg(feature = "engine")]
pub mod repository_conformance;
#[cfg(feature = "engine")]
pub mod running_engine;
pub mod seeded_random;
pub mod sender;
#[cfg(feature = "engine")]
pub mod services;
#[cfg(feature = "engine")]
pub mod simulation;
pub mod source_text;
pub mod source_tree;
pub mod state_digest;
#[cfg(feature = "engine")]
pub mod stored;
pub mod waiting;
pub mod webhook_receiver;
