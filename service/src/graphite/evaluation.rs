//! From an expression to series: paths are read, functions called.
//!
//! Functions come from the table in [`super::functions`]. Some of them read their first argument again over another window,
//! so an evaluation is one state that they may use, with one budget for all of it.

use jiff::tz::TimeZone;

use super::budget::Budget;
use super::functions::arguments::Arguments;
use super::functions::{self, Value};
use super::series::Series;
use super::tag_expression::{self, TagExpression};
use super::target::{Call, Expression};
use super::time;
use crate::operations::OperationError;
use crate::timestamp::{MAX_UNIX_SECONDS, MIN_UNIX_SECONDS};

/// Most targets of one request.
pub(crate) const MAX_TARGETS: usize = 500;
/// The function that reads by tags; the only one that is not in the table of those that compute.
const SERIES_BY_TAG: &str = "seriesByTag";

/// The time that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// Unix seconds; the first point lies after it.
    pub(crate) from: i64,
    /// Unix seconds; the last point lies not after it.
    pub(crate) until: i64,
    /// Unix seconds.
    pub(crate) now: i64,
}

impl Window {
    /// The window of a request; a day up to now unless said otherwise. Ends may come in either order.
    ///
    /// # Errors
    /// [`OperationError::InvalidArgument`] for what is no time, and for an empty window.
    pub(crate) fn new(
        from: Option<&str>,
        until: Option<&str>,
        zone: &TimeZone,
        now: i64,
    ) -> Result<Self, OperationError> {
        let from = time::parse_time(from.unwrap_or("-1d"), zone, now)?;
        let until = time::parse_time(until.unwrap_or("now"), zone, now)?;
        if from == until {
            return Err(OperationError::invalid(format!(
                "from and until are the same time ({from}); expected a window of at least a second"
            )));
        }
        Ok(Self { from: from.min(until), until: from.max(until), now })
    }

    /// Begins earlier by so many seconds.
    pub(crate) fn begin_earlier(self, seconds: i64) -> Self {
        Self { from: within_time(self.from.saturating_sub(seconds)), ..self }
    }

    /// Moved by so many seconds.
    pub(crate) fn moved(self, seconds: i64) -> Self {
        let moved = |time: i64| within_time(time.saturating_add(seconds));
        Self { from: moved(self.from), until: moved(self.until), ..self }
    }
}

/// The nearest time that there can be a row of, so that sums of times never overflow.
fn within_time(seconds: i64) -> i64 {
    seconds.clamp(MIN_UNIX_SECONDS, MAX_UNIX_SECONDS)
}

/// Where series come from.
pub(crate) trait SeriesSource {
    /// The series of a path, by name.
    ///
    /// # Errors
    /// A pattern or a request over its bounds, or from the database.
    fn by_path(
        &self,
        path: &str,
        window: &Window,
        budget: &mut Budget,
    ) -> Result<Vec<Series>, OperationError>;

    /// The series that meet all expressions, by name; `path` is what they were asked for as.
    ///
    /// # Errors
    /// As [`Self::by_path`].
    fn by_tags(
        &self,
        expressions: &[TagExpression],
        path: &str,
        window: &Window,
        budget: &mut Budget,
    ) -> Result<Vec<Series>, OperationError>;
}

/// One request at work.
pub(crate) struct Evaluation<'a> {
    source: &'a dyn SeriesSource,
    /// The time that is asked for, while it is not shifted by a function.
    pub(crate) window: Window,
    /// What is left of the request's budget.
    pub(crate) budget: Budget,
}

impl<'a> Evaluation<'a> {
    /// One with a whole budget.
    pub(crate) fn new(source: &'a dyn SeriesSource, window: Window) -> Self {
        Self { source, window, budget: Budget::default() }
    }

    /// The series of a target.
    ///
    /// # Errors
    /// [`OperationError::InvalidArgument`] says what is wrong with the target, or which bound it passes; or from the
    /// database.
    pub(crate) fn series(&mut self, expression: &Expression) -> Result<Vec<Series>, OperationError> {
        match self.value(expression)? {
            Value::Series(series) => Ok(series),
            Value::Number(_) | Value::Text(_) | Value::Boolean(_) | Value::Nothing | Value::Infinity => Err(
                OperationError::invalid("a target is a path or a function's call, not a number or a text"),
            ),
        }
    }

    /// The series of an expression over another window.
    ///
    /// # Errors
    /// As [`Self::series`].
    pub(crate) fn series_within(
        &mut self,
        window: Window,
        expression: &Expression,
    ) -> Result<Vec<Series>, OperationError> {
        let before = std::mem::replace(&mut self.window, window);
        let series = self.series(expression);
        self.window = before;
        series
    }

    /// What an argument says.
    ///
    /// # Errors
    /// As [`Self::series`].
    pub(crate) fn value(&mut self, expression: &Expression) -> Result<Value, OperationError> {
        Ok(match expression {
            Expression::Path(path) => {
                self.budget.evaluation()?;
                Value::Series(self.source.by_path(path, &self.window, &mut self.budget)?)
            }
            Expression::Call(call) => Value::Series(self.call(call)?),
            Expression::Number(number) => Value::Number(*number),
            Expression::Text(text) => Value::Text(text.clone()),
            Expression::Boolean(boolean) => Value::Boolean(*boolean),
            Expression::Nothing => Value::Nothing,
            Expression::Infinity => Value::Infinity,
        })
    }

    fn call(&mut self, call: &Call) -> Result<Vec<Series>, OperationError> {
        self.budget.evaluation()?;
        let function = functions::function(&call.name).ok_or_else(|| {
            OperationError::invalid(format!(
                "there is no function `{}`; /functions lists those there are",
                call.name.chars().take(60).collect::<String>()
            ))
        })?;
        let mut arguments = Arguments::bind(self, function, call)?;
        if call.name == SERIES_BY_TAG {
            let expressions = tag_expression::parse_all(&arguments.texts())?;
            return self.source.by_tags(&expressions, &call.text, &self.window, &mut self.budget);
        }
        (function.run)(self, &mut arguments)
    }
}
