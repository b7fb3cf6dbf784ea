//! The engine's roles in a simulated world: one seed, one run, the same each time.
//!
//! [`run::run`] makes a plan of the seed (`plan.rs`) and a world of the plan (`world.rs`, `processes.rs`). The roles are the real ones, driven by
//! their `run_once`; everything they meet is simulated: clock, ids, bus (`bus.rs`, `queue.rs`, `window.rs`), database
//! (`repository.rs`, `transaction.rs`, `tables.rs`), model files (`files.rs`), the listener's sockets (`clients.rs`,
//! `future.rs`, `intake.rs`). What goes wrong (`fault.rs`), and when a process dies, the stage decides (`stage.rs`), at every call that a
//! role makes to the outside; there, too, another role may take a turn in between.
//!
//! What must hold then is in `verification.rs`: what was sent is accepted where nothing died, accepted is stored once and in
//! order (`expectation.rs`), scored as by a lone model of the plan (`lone_model.rs`),
//! published in row order at least once (`results_book.rs`), refused is counted where nothing dies, no memory grows past its
//! limit, and there is an end of work. Without a broker, an orderly stop loses nothing of what was accepted and publishes what it
//! scored (`stop.rs`). With one, what the broker has not confirmed goes with the process here: the file that the engine
//! keeps it in (`engine/unpublished.rs`) is not simulated. That queues and prefetch have limits is a property of the simulated
//! bus, under which the roles have to get on. To see that all this would be noticed, `canary.rs`
//! has bugs to put around the roles. Alerts and the readers of results over sockets are not among the roles here.

mod bus;
mod clients;
mod clock;
mod expectation;
mod files;
mod future;
mod intake;
mod lone_model;
mod lost_scores;
mod operator;
mod processes;
mod queue;
mod random_bytes;
mod repository;
mod results_book;
mod role;
mod stage;
mod stop;
mod storing;
mod tables;
mod transaction;
mod verification;
mod window;
mod world;

pub mod canary;
pub mod fault;
pub mod figures;
pub mod plan;
pub mod run;
pub mod trace;
pub mod verdict;
