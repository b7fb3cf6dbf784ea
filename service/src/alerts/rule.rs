//! What is worth an alert: for which metrics, which score or signal, from where to where, told to whom.
//!
//! A rule that goes by scores is silent while a model is learning: see [`super::episode::is_mature`]. Signals have their
//! own rules for when there is too little to tell.
//!
//! | `when` | score | opens at | threshold | clear |
//! |---|---|---|---|---|
//! | `detection` | detection score | alert score, the detection score where it peaks | [`ALERT_THRESHOLD`] | half of it |
//! | `anomaly` | anomaly score | the same | 0.99999 | half way on the logarithmic scale: 0.99684 |
//! | `raw` | raw anomaly score | the same | 1 | half of it |
//! | `no_data`, `flat_line`, `out_of_range`, `saturated_encoder` | the signal | it is on | none | none |

use std::collections::BTreeMap;

use htm_core::detection::ALERT_THRESHOLD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use toml::Spanned;
use wildmatch::WildMatch;

use super::quiet::{Maintenance, MaintenanceFile, QuietFile, QuietHours, quiet_until};
use crate::repository::alert::{MAX_ALERT_NAME_CHARS, Suppression};
use crate::signals::SignalName;

/// Globs, tags, windows or channels of one rule at most.
const MAX_LIST: usize = 100;
/// Longest duration in a rule: a year.
const MAX_DURATION_S: i64 = 366 * 86_400;
/// Without another one, the anomaly score that opens an episode: the original's red band.
const DEFAULT_ANOMALY_THRESHOLD: f64 = 0.99999;
/// Without another one, how long a score must stay low until its episode is over.
const DEFAULT_CLEAR_AFTER_S: i64 = 3_600;
const DEFAULT_SEVERITY: &str = "warning";

/// A rule as it is written in a settings file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleFile {
    pub(super) name: Spanned<String>,
    metrics: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    when: Option<Condition>,
    threshold: Option<f64>,
    clear: Option<f64>,
    clear_after_s: Option<i64>,
    min_duration_s: Option<i64>,
    repeat_after_s: Option<i64>,
    quiet: Option<Vec<QuietFile>>,
    maintenance: Option<Vec<MaintenanceFile>>,
    channels: Option<Vec<String>>,
    resolve: Option<bool>,
    severity: Option<String>,
}

/// What a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// The fused detection score, where it peaks.
    #[default]
    Detection,
    /// htmengine's anomaly score.
    Anomaly,
    /// The raw anomaly score.
    Raw,
    /// Samples have stopped coming.
    NoData,
    /// The value does not move any more.
    FlatLine,
    /// The value left the range of the model.
    OutOfRange,
    /// The encoder cannot tell the value from others.
    SaturatedEncoder,
}

impl Condition {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Detection => "detection",
            Self::Anomaly => "anomaly",
            Self::Raw => "raw",
            Self::NoData => "no_data",
            Self::FlatLine => "flat_line",
            Self::OutOfRange => "out_of_range",
            Self::SaturatedEncoder => "saturated_encoder",
        }
    }

    /// The signal that it is; `None` of a score.
    pub fn signal(self) -> Option<SignalName> {
        match self {
            Self::Detection | Self::Anomaly | Self::Raw => None,
            Self::NoData => Some(SignalName::NoData),
            Self::FlatLine => Some(SignalName::FlatLine),
            Self::OutOfRange => Some(SignalName::OutOfRange),
            Self::SaturatedEncoder => Some(SignalName::SaturatedEncoder),
        }
    }

    fn default_threshold(self) -> f64 {
        match self {
            Self::Detection => ALERT_THRESHOLD,
            Self::Anomaly => DEFAULT_ANOMALY_THRESHOLD,
            Self::Raw | Self::NoData | Self::FlatLine | Self::OutOfRange | Self::SaturatedEncoder => 1.0,
        }
    }

    /// An anomaly score is a probability near 1 that rests at about 0.5, so half of it would be no way down.
    fn default_clear(self, threshold: f64) -> f64 {
        if self == Self::Anomaly { 1.0 - (1.0 - threshold).sqrt() } else { threshold / 2.0 }
    }
}

/// From where to where a condition counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// A score that opens an episode.
    pub threshold: f64,
    /// A score below which an episode may end.
    pub clear: f64,
    /// For how long it must stay there, in seconds of sample time.
    pub clear_after_s: i64,
    /// For how long the condition must hold before an episode opens, in seconds of sample time.
    pub min_duration_s: i64,
}

/// One rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name; no two have the same.
    pub name: String,
    /// What it looks at.
    pub condition: Condition,
    /// From where to where.
    pub bounds: Bounds,
    /// An episode that stays open is told again after so many seconds of our clock; 0 for never.
    pub repeat_after_s: i64,
    /// Names of the channels it is told to.
    pub channels: Vec<String>,
    /// Whether the end of an episode is told too.
    pub resolve: bool,
    /// For people and programs that sort by it.
    pub severity: String,
    matcher: Matcher,
    quiet: Vec<QuietHours>,
    maintenance: Vec<Maintenance>,
}

/// Which metrics a rule is about.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Matcher {
    metrics: Vec<String>,
    tags: Vec<(String, String)>,
}

impl Matcher {
    /// Whether one of its globs matches a metric's name, and all of its tags are there.
    pub fn matches(&self, metric: &str) -> bool {
        if !self.metrics.iter().any(|glob| WildMatch::new(glob).matches(metric)) {
            return false;
        }
        let found = tags(metric);
        self.tags.iter().all(|(key, value)| found.get(key.as_str()) == Some(&value.as_str()))
    }
}

/// Which metrics rules are about, to be kept until the next start.
pub(super) fn scope_of(rules: &[Rule]) -> String {
    let matchers: Vec<&Matcher> = rules.iter().map(|rule| &rule.matcher).collect();
    serde_json::to_string(&matchers).unwrap_or_default()
}

/// What [`scope_of`] made; nothing of a text that it did not make.
pub(super) fn matchers_of(scope: &str) -> Vec<Matcher> {
    serde_json::from_str(scope).unwrap_or_default()
}

impl Rule {
    /// From a settings file.
    ///
    /// # Errors
    /// What is wrong: found, expected.
    pub fn from_file(file: &RuleFile) -> Result<Self, String> {
        let condition = file.when.unwrap_or_default();
        let is_signal = condition.signal().is_some();
        if is_signal && (file.threshold.is_some() || file.clear.is_some()) {
            return Err(format!(
                "threshold and clear mean nothing with when = \"{}\"; leave them out",
                condition.as_str()
            ));
        }
        let threshold = file.threshold.unwrap_or_else(|| condition.default_threshold());
        let clear = file.clear.unwrap_or_else(|| condition.default_clear(threshold));
        if !(threshold > 0.0 && threshold <= 1.0) {
            return Err(format!("threshold is {threshold}; expected a number above 0, at most 1"));
        }
        if !(clear > 0.0 && clear <= threshold) {
            return Err(format!(
                "clear is {clear}; expected a number above 0, at most the threshold {threshold}"
            ));
        }
        let default_clear_after = if is_signal { 0 } else { DEFAULT_CLEAR_AFTER_S };
        let bounds = Bounds {
            threshold,
            clear,
            clear_after_s: duration("clear_after_s", file.clear_after_s, default_clear_after)?,
            min_duration_s: duration("min_duration_s", file.min_duration_s, 0)?,
        };
        for (key, count) in [
            ("metrics", file.metrics.as_ref().map_or(0, Vec::len)),
            ("tags", file.tags.as_ref().map_or(0, Vec::len)),
            ("channels", file.channels.as_ref().map_or(0, Vec::len)),
            ("quiet", file.quiet.as_ref().map_or(0, Vec::len)),
            ("maintenance", file.maintenance.as_ref().map_or(0, Vec::len)),
        ] {
            if count > MAX_LIST {
                return Err(format!("{key} has {count} entries; expected at most {MAX_LIST}"));
            }
        }
        let severity = file.severity.clone().unwrap_or_else(|| DEFAULT_SEVERITY.to_owned());
        Ok(Self {
            name: checked_name("name", file.name.get_ref())?,
            condition,
            bounds,
            repeat_after_s: duration("repeat_after_s", file.repeat_after_s, 0)?,
            channels: file.channels.clone().unwrap_or_default(),
            resolve: file.resolve.unwrap_or(true),
            severity: checked_name("severity", &severity)?,
            matcher: Matcher {
                metrics: file.metrics.clone().unwrap_or_else(|| vec!["*".to_owned()]),
                tags: file.tags.iter().flatten().map(|tag| tag_of(tag)).collect::<Result<_, _>>()?,
            },
            quiet: file.quiet.iter().flatten().map(QuietHours::from_file).collect::<Result<_, _>>()?,
            maintenance: file
                .maintenance
                .iter()
                .flatten()
                .map(Maintenance::from_file)
                .collect::<Result<_, _>>()?,
        })
    }

    /// Whether it is about the metric with this name: one of its globs matches, and all of its tags are there.
    pub fn matches(&self, metric: &str) -> bool {
        self.matcher.matches(metric)
    }

    /// Why an episode that opens now is not told now.
    pub fn suppression(&self, now: i64) -> Option<Suppression> {
        if self.maintenance.iter().any(|it| it.contains(now)) {
            return Some(Suppression::Maintenance);
        }
        self.quiet_until(now).map(|_| Suppression::Quiet)
    }

    /// When the quiet ends that holds now; `None` if it is not quiet.
    pub fn quiet_until(&self, now: i64) -> Option<i64> {
        quiet_until(&self.quiet, now)
    }

    /// Changes with everything that decides when an episode opens and ends.
    pub fn fingerprint(&self) -> String {
        let Bounds { threshold, clear, clear_after_s, min_duration_s } = self.bounds;
        format!("{} {threshold} {clear} {clear_after_s} {min_duration_s}", self.condition.as_str())
    }

    /// The threshold, unless it means nothing.
    pub fn shown_threshold(&self) -> Option<f64> {
        self.condition.signal().is_none().then_some(self.bounds.threshold)
    }

    /// As JSON, for people and programs.
    pub fn shown(&self) -> Value {
        let Bounds { clear, clear_after_s, min_duration_s, .. } = self.bounds;
        let threshold = self.shown_threshold();
        let Matcher { metrics, tags } = &self.matcher;
        let tags: Vec<String> = tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        json!({
            "name": self.name,
            "metrics": metrics,
            "tags": tags,
            "when": self.condition.as_str(),
            "threshold": threshold,
            "clear": threshold.map(|_| clear),
            "clear_after_s": clear_after_s,
            "min_duration_s": min_duration_s,
            "repeat_after_s": self.repeat_after_s,
            "quiet": self.quiet.iter().map(QuietHours::shown).collect::<Vec<_>>(),
            "maintenance": self.maintenance.iter().map(|it| it.shown()).collect::<Vec<_>>(),
            "channels": self.channels,
            "resolve": self.resolve,
            "severity": self.severity,
        })
    }
}

/// The tags in a metric's name: `series;key=value;key=value`.
pub fn tags(metric: &str) -> BTreeMap<&str, &str> {
    metric.split(';').skip(1).filter_map(|tag| tag.split_once('=')).collect()
}

/// A name of a rule or channel that a database column holds and people can read.
pub(super) fn checked_name(key: &str, name: &str) -> Result<String, String> {
    let chars = name.chars().count();
    if chars == 0 || chars > MAX_ALERT_NAME_CHARS || name.chars().any(char::is_control) {
        return Err(format!(
            "{key} is '{}'; expected 1 to {MAX_ALERT_NAME_CHARS} characters, none of them a control character",
            name.escape_debug()
        ));
    }
    Ok(name.to_owned())
}

fn tag_of(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(key, value)| !key.is_empty() && !value.is_empty());
    let (key, value) = parts.ok_or_else(|| format!("tags has '{text}'; expected \"key=value\""))?;
    Ok((key.to_owned(), value.to_owned()))
}

fn duration(key: &str, said: Option<i64>, default: i64) -> Result<i64, String> {
    let seconds = said.unwrap_or(default);
    if (0..=MAX_DURATION_S).contains(&seconds) {
        return Ok(seconds);
    }
    Err(format!("{key} is {seconds}; expected seconds, 0 to {MAX_DURATION_S}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Result<Rule, String> {
        let file: RuleFile = toml::from_str(text).map_err(|error| error.to_string())?;
        Rule::from_file(&file)
    }

    #[test]
    fn defaults_are_those_of_the_condition() {
        let detection = rule("name = 'a'").expect("valid");
        assert_eq!(
            detection.bounds,
            Bounds { threshold: 0.135, clear: 0.0675, clear_after_s: 3_600, min_duration_s: 0 }
        );
        let anomaly = rule("name = 'a'\nwhen = 'anomaly'").expect("valid");
        assert!((anomaly.bounds.clear - 0.996_837_7).abs() < 1e-6, "{:?}", anomaly.bounds);
        let signal = rule("name = 'a'\nwhen = 'no_data'").expect("valid");
        assert_eq!((signal.condition.signal(), signal.bounds.clear_after_s), (Some(SignalName::NoData), 0));
        assert!(detection.resolve && detection.channels.is_empty());
    }

    #[test]
    fn metrics_are_chosen_by_glob_and_tag() {
        let rule =
            rule("name = 'a'\nmetrics = ['cpu.*', 'mem*']\ntags = ['dc=fra', 'role=db']").expect("valid");
        for (metric, is_match) in [
            ("cpu.load;dc=fra;role=db", true),
            ("mem;dc=fra;host=a;role=db", true),
            ("cpu.load;dc=fra", false),
            ("cpu.load;dc=fra;role=web", false),
            ("disk;dc=fra;role=db", false),
            ("cpu.load", false),
        ] {
            assert_eq!(rule.matches(metric), is_match, "{metric}");
        }
    }

    #[test]
    fn a_scope_says_later_what_rules_were_about() {
        let rule = rule("name = 'a'\nmetrics = ['cpu.*']\ntags = ['dc=fra']").expect("valid");
        let before = matchers_of(&scope_of(&[rule]));
        let was_watched = |metric: &str| before.iter().any(|matcher| matcher.matches(metric));
        assert!(was_watched("cpu.load;dc=fra") && !was_watched("cpu.load") && !was_watched("mem;dc=fra"));
        assert_eq!(matchers_of("of another program"), []);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("name = ''", "name is ''"),
            ("name = 'a'\nthreshold = 1.5", "threshold is 1.5"),
            ("name = 'a'\nthreshold = nan", "threshold is NaN"),
            ("name = 'a'\nthreshold = 0.2\nclear = 0.3", "clear is 0.3"),
            ("name = 'a'\nwhen = 'no_data'\nthreshold = 0.2", "mean nothing"),
            ("name = 'a'\nclear_after_s = -1", "clear_after_s is -1"),
            ("name = 'a'\ntags = ['dc']", "tags has 'dc'"),
            ("name = 'a'\nwhen = 'never'", "never"),
            ("name = 'a'\nthreshhold = 0.2", "threshhold"),
        ] {
            let error = rule(text).expect_err(text);
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn the_fingerprint_says_whether_episodes_change() {
        let one = rule("name = 'a'").expect("valid");
        let same = rule("name = 'a'\nchannels = ['x']\nseverity = 'page'").expect("valid");
        let other = rule("name = 'a'\nthreshold = 0.2").expect("valid");
        assert_eq!(one.fingerprint(), same.fingerprint());
        assert_ne!(one.fingerprint(), other.fingerprint());
    }
}
