//! The read side of Graphite: from a target's text and a time to points, without HTTP.
//!
//! The walk of a request: `time.rs` reads `from` and `until`; `target.rs` the target into an expression; `evaluation.rs`
//! computes it: paths become names by `catalog.rs` (held for a second by `catalog_cache.rs`; with `pattern.rs`,
//! `tag_expression.rs`, `field.rs`), names become series by `row_source.rs` (with `step.rs`, `time_reader.rs`), series go
//! through `functions`; `render.rs` writes them. `budget.rs` bounds it all. `consolidation.rs` makes one point of several,
//! `series.rs` brings series to one step, `number.rs` writes numbers into names, `function_index.rs` tells editors what
//! there is, `events.rs` shows anomalies as annotations.
//!
//! Invariants: nothing here writes; every request is bounded, whatever its text; a point is finite or missing.
//!
//! Source: the behaviour of graphite-web 1.1.10 (Apache-2.0), none of its code. Where it differs, the file says so.

pub(crate) mod budget;
pub(crate) mod catalog;
pub(crate) mod catalog_cache;
pub(crate) mod consolidation;
pub(crate) mod evaluation;
pub(crate) mod events;
pub(crate) mod field;
pub(crate) mod function_index;
pub(crate) mod functions;
pub(crate) mod number;
pub(crate) mod pattern;
pub(crate) mod render;
pub(crate) mod row_source;
pub(crate) mod series;
pub(crate) mod step;
pub(crate) mod tag_expression;
pub(crate) mod target;
pub(crate) mod time;
pub(crate) mod time_reader;
