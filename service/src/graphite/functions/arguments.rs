//! The arguments of one call, checked against the table's parameters.
//!
//! Positional arguments come first, then named ones; a repeated parameter takes all positional arguments that are left.
//! Bodies take what they need by the number of its parameter and cannot meet another kind than the table says.

use super::{Evaluation, Function, Kind, Parameter, Value};
use crate::graphite::consolidation::{AGGREGATES, Consolidation};
use crate::graphite::number::Number;
use crate::graphite::series::Series;
use crate::graphite::target::{Call, Expression};
use crate::graphite::time::parse_interval;
use crate::operations::OperationError;

/// Arguments by the numbers of their parameters.
pub(crate) struct Arguments<'a> {
    function: &'static Function,
    call: &'a Call,
    /// Of each parameter; a repeated one has all its arguments.
    values: Vec<Vec<Value>>,
}

/// A number of points, or a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Points.
    Points(i64),
    /// Seconds, not negative.
    Seconds(i64),
}

/// A part of a name, or a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NodeOrTag {
    /// From the start, or, if negative, from the end.
    Node(i64),
    /// A tag's name.
    Tag(String),
}

impl<'a> Arguments<'a> {
    /// Evaluates and checks the arguments of a call.
    ///
    /// # Errors
    /// [`OperationError::InvalidArgument`] says which parameter of which function is wrong, and how; or what evaluating an
    /// argument says.
    pub(crate) fn bind(
        evaluation: &mut Evaluation<'_>,
        function: &'static Function,
        call: &'a Call,
    ) -> Result<Self, OperationError> {
        let parameters = function.parameters;
        let refused = |why: String| OperationError::invalid(format!("{}(): {why}", function.name));
        let is_open = parameters.last().is_some_and(|last| last.is_repeated);
        if call.arguments.len() > parameters.len() && !is_open {
            let (found, most) = (call.arguments.len(), parameters.len());
            return Err(refused(format!("{found} arguments; it takes at most {most}")));
        }
        let mut values: Vec<Vec<Value>> = vec![Vec::new(); parameters.len()];
        let last = parameters.len().saturating_sub(1);
        for (number, argument) in call.arguments.iter().enumerate() {
            let place = number.min(last);
            let value = evaluation.value(argument)?;
            values[place].extend(checked(&parameters[place], value).map_err(refused)?);
        }
        for (name, argument) in &call.named {
            let Some(place) = parameters.iter().position(|parameter| parameter.name == name) else {
                let all: Vec<&str> = parameters.iter().map(|parameter| parameter.name).collect();
                return Err(refused(format!("it has no parameter `{name}`; it has {}", all.join(", "))));
            };
            if !values[place].is_empty() {
                return Err(refused(format!("`{name}` is given twice")));
            }
            let value = evaluation.value(argument)?;
            values[place].extend(checked(&parameters[place], value).map_err(refused)?);
        }
        let missing = parameters
            .iter()
            .zip(&values)
            .find(|(parameter, given)| parameter.is_required && given.is_empty());
        if let Some((parameter, _)) = missing {
            return Err(refused(format!("it needs `{}` ({})", parameter.name, parameter.kind.name())));
        }
        Ok(Self { function, call, values })
    }

    /// The first argument as it was written.
    ///
    /// # Errors
    /// [`OperationError::InvalidArgument`] if it was given by name.
    pub(crate) fn first_expression(&self) -> Result<&'a Expression, OperationError> {
        self.call.arguments.first().ok_or_else(|| self.refused("its series must be the first argument"))
    }

    /// An error of this call.
    pub(crate) fn refused(&self, why: &str) -> OperationError {
        OperationError::invalid(format!("{}(): {why}", self.function.name))
    }

    /// The series of parameter 0; of a repeated one all of them, one after the other.
    pub(crate) fn series(&mut self) -> Vec<Series> {
        self.series_of(0)
    }

    /// The series of a parameter.
    pub(crate) fn series_of(&mut self, place: usize) -> Vec<Series> {
        let given = self.values.get_mut(place).map(std::mem::take).unwrap_or_default();
        let lists = given
            .into_iter()
            .filter_map(|value| if let Value::Series(list) = value { Some(list) } else { None });
        lists.flatten().collect()
    }

    /// Whether a parameter was given.
    pub(crate) fn is_given(&self, place: usize) -> bool {
        self.first(place).is_some()
    }

    /// A number; `None` if it was not given.
    pub(crate) fn number(&self, place: usize) -> Option<Number> {
        if let Some(Value::Number(number)) = self.first(place) { Some(*number) } else { None }
    }

    /// A whole number; `default` if it was not given.
    pub(crate) fn integer(&self, place: usize, default: i64) -> i64 {
        if let Some(Value::Number(Number::Integer(number))) = self.first(place) { *number } else { default }
    }

    /// A text; `default` if it was not given.
    pub(crate) fn text(&self, place: usize, default: &'static str) -> &str {
        if let Some(Value::Text(text)) = self.first(place) { text } else { default }
    }

    /// True or false; false if it was not given.
    pub(crate) fn boolean(&self, place: usize, default: bool) -> bool {
        if let Some(Value::Boolean(boolean)) = self.first(place) { *boolean } else { default }
    }

    /// All texts of the call's last parameter.
    pub(crate) fn texts(&self) -> Vec<String> {
        let last = self.values.last().into_iter().flatten();
        last.filter_map(|value| if let Value::Text(text) = value { Some(text.clone()) } else { None })
            .collect()
    }

    /// The nodes and tags of the call's last parameter.
    pub(crate) fn nodes(&self, place: usize) -> Vec<NodeOrTag> {
        let given = self.values.get(place).into_iter().flatten();
        given
            .filter_map(|value| match value {
                Value::Number(Number::Integer(node)) => Some(NodeOrTag::Node(*node)),
                Value::Text(tag) => Some(NodeOrTag::Tag(tag.clone())),
                Value::Number(Number::Float(_))
                | Value::Series(_)
                | Value::Boolean(_)
                | Value::Nothing
                | Value::Infinity => None,
            })
            .collect()
    }

    /// An aggregate; `default` if it was not given.
    ///
    /// # Errors
    /// Never of what [`Self::bind`] let through.
    pub(crate) fn aggregate(
        &self,
        place: usize,
        default: &'static str,
    ) -> Result<Consolidation, OperationError> {
        Consolidation::aggregate(self.text(place, default))
    }

    /// A number of points or a time.
    ///
    /// # Errors
    /// Never of what [`Self::bind`] let through.
    pub(crate) fn extent(&self, place: usize) -> Result<Extent, OperationError> {
        match self.first(place) {
            Some(Value::Text(text)) => parse_interval(text).map(|seconds| Extent::Seconds(seconds.abs())),
            _ => Ok(Extent::Points(self.integer(place, 0))),
        }
    }

    fn first(&self, place: usize) -> Option<&Value> {
        self.values.get(place).and_then(|given| given.first())
    }
}

/// The value if the parameter takes it; `None` for a `None` that an optional parameter was given.
fn checked(parameter: &Parameter, value: Value) -> Result<Option<Value>, String> {
    if value == Value::Nothing && !parameter.is_required {
        return Ok(None);
    }
    let value = as_given(parameter.kind, value);
    let is_taken = match (parameter.kind, &value) {
        (Kind::SeriesList, Value::Series(_))
        | (Kind::Text | Kind::Tag | Kind::NodeOrTag | Kind::Aggregate, Value::Text(_))
        | (Kind::Float, Value::Number(_))
        | (
            Kind::Integer | Kind::IntegerOrInfinity | Kind::IntegerOrInterval | Kind::NodeOrTag,
            Value::Number(Number::Integer(_)),
        )
        | (Kind::IntegerOrInfinity, Value::Infinity)
        | (Kind::Boolean, Value::Boolean(_)) => true,
        (Kind::Interval | Kind::IntegerOrInterval, Value::Text(text)) => {
            parse_interval(text).map_err(|error| format!("`{}`: {error}", parameter.name))?;
            true
        }
        _ => false,
    };
    if !is_taken {
        return Err(format!(
            "`{}` takes {}, not {}",
            parameter.name,
            expected(parameter.kind),
            shown(&value)
        ));
    }
    if let Value::Text(text) = &value {
        if parameter.kind == Kind::Aggregate {
            let name = text.strip_suffix("Series").unwrap_or(text);
            if !AGGREGATES.iter().any(|(known, _)| *known == name) {
                let all: Vec<&str> = AGGREGATES.iter().map(|(known, _)| *known).collect();
                return Err(format!(
                    "`{}` takes one of {}, not {}",
                    parameter.name,
                    all.join(", "),
                    shown(&value)
                ));
            }
        }
        if !parameter.options.is_empty() && !parameter.options.contains(&text.as_str()) {
            let all = parameter.options.join(", ");
            return Err(format!("`{}` takes one of {all}, not {}", parameter.name, shown(&value)));
        }
    }
    Ok(Some(value))
}

/// Texts that mean a number or a truth, as Grafana's editor writes them in quotes.
fn as_given(kind: Kind, value: Value) -> Value {
    let Value::Text(text) = value else { return value };
    let read = match kind {
        Kind::Float | Kind::Integer | Kind::IntegerOrInfinity | Kind::IntegerOrInterval => {
            Number::parse(&text).map(Value::Number)
        }
        Kind::Boolean => match text.to_ascii_lowercase().as_str() {
            "true" => Some(Value::Boolean(true)),
            "false" => Some(Value::Boolean(false)),
            _ => None,
        },
        Kind::SeriesList | Kind::Text | Kind::Interval | Kind::NodeOrTag | Kind::Tag | Kind::Aggregate => {
            None
        }
    };
    read.unwrap_or(Value::Text(text))
}

fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::SeriesList => "series: a path or a function's call (seriesList)",
        Kind::Text => "a text in quotes",
        Kind::Float => "a number",
        Kind::Integer => "a whole number",
        Kind::IntegerOrInfinity => "a whole number or inf",
        Kind::Boolean => "true or false",
        Kind::Interval => "an interval in quotes, such as '1h'",
        Kind::IntegerOrInterval => "a whole number, or an interval in quotes such as '1h'",
        Kind::NodeOrTag => "the number of a node, or a tag in quotes",
        Kind::Tag => "a tag in quotes",
        Kind::Aggregate => "the name of an aggregation function in quotes",
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Series(_) => "series".to_owned(),
        Value::Number(number) => number.text(),
        Value::Text(text) => {
            let head: String = text.chars().take(60).collect();
            format!("`{}`", head.escape_debug())
        }
        Value::Boolean(boolean) => boolean.to_string(),
        Value::Nothing => "None".to_owned(),
        Value::Infinity => "inf".to_owned(),
    }
}
