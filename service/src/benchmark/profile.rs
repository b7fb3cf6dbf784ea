//! NAB's application profiles: what a hit, a miss and a false alarm are worth. Also the table of published scores.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What detections are worth to one kind of user.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// As in `config/profiles.json`.
    pub name: String,
    /// Most points for a window hit, at its very start.
    pub hit: f64,
    /// Points lost for a window missed.
    pub miss: f64,
    /// Most points lost for an alert outside windows.
    pub false_alarm: f64,
}

/// The profiles in the text of NAB's `config/profiles.json`: NAB's own three first, others by name.
///
/// # Errors
/// What was expected of the text.
pub fn read_profiles(json: &str) -> Result<Vec<Profile>, String> {
    let read: BTreeMap<String, ProfileJson> = serde_json::from_str(json)
        .map_err(|error| format!("{error}; expected NAB's profiles, each with a CostMatrix"))?;
    let mut profiles: Vec<Profile> =
        read.into_iter().map(|(name, ProfileJson { costs })| costs.profile(name)).collect();
    for profile in &profiles {
        let is_weight = |weight: f64| weight.is_finite() && weight >= 0.0;
        if ![profile.hit, profile.miss, profile.false_alarm].into_iter().all(is_weight) {
            return Err(format!("profile `{}`: expected weights of 0 or more", profile.name));
        }
    }
    let rank = |name: &str| NAMES.iter().position(|known| *known == name).unwrap_or(NAMES.len());
    profiles.sort_by_key(|profile| rank(&profile.name));
    if profiles.is_empty() {
        return Err("no profiles; expected at least one".to_owned());
    }
    Ok(profiles)
}

/// NAB's own profiles, in the order of its table.
pub const NAMES: [&str; 3] = ["standard", "reward_low_FP_rate", "reward_low_FN_rate"];

/// NAB's table: detector, and scores in the order of [`NAMES`].
///
/// Source: README of numenta/NAB at ea702d75; of the range over seeds of Numenta HTM the best.
pub const PUBLISHED: [(&str, [f64; 3]); 15] = [
    ("Perfect", [100.0, 100.0, 100.0]),
    ("ARTime", [74.9, 65.1, 80.4]),
    ("Numenta HTM (NuPIC 1.0, best seeds)", [70.5, 62.6, 75.2]),
    ("CAD OSE", [69.9, 67.0, 73.2]),
    ("earthgecko Skyline", [58.2, 46.2, 63.9]),
    ("KNN CAD", [58.0, 43.4, 64.8]),
    ("Relative Entropy", [54.6, 47.6, 58.8]),
    ("Numenta HTM without likelihood", [53.6, 34.2, 61.9]),
    ("Random Cut Forest (Amazon)", [51.7, 38.4, 59.7]),
    ("Twitter ADVec v1.0.0", [47.1, 33.6, 53.5]),
    ("Windowed Gaussian", [39.6, 20.9, 47.4]),
    ("Etsy Skyline", [35.7, 27.1, 44.5]),
    ("Bayesian Changepoint", [17.7, 3.2, 32.2]),
    ("EXPoSE", [16.4, 3.2, 26.9]),
    ("Random", [11.0, 1.2, 19.5]),
];

#[derive(Deserialize)]
struct ProfileJson {
    #[serde(rename = "CostMatrix")]
    costs: CostsJson,
}

/// Its fourth weight, that of true negatives, counts for nothing in NAB either.
#[derive(Deserialize)]
struct CostsJson {
    #[serde(rename = "tpWeight")]
    hit: f64,
    #[serde(rename = "fnWeight")]
    miss: f64,
    #[serde(rename = "fpWeight")]
    false_alarm: f64,
}

impl CostsJson {
    fn profile(&self, name: String) -> Profile {
        Profile { name, hit: self.hit, miss: self.miss, false_alarm: self.false_alarm }
    }
}

/// NAB's own three profiles.
pub fn nab_profiles() -> Vec<Profile> {
    let weights = [(1.0, 1.0, 0.11), (1.0, 1.0, 0.22), (1.0, 2.0, 0.11)];
    NAMES
        .into_iter()
        .zip(weights)
        .map(|(name, (hit, miss, false_alarm))| Profile { name: name.to_owned(), hit, miss, false_alarm })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_read_in_the_order_of_the_table() {
        let json = r#"{"reward_low_FN_rate": {"CostMatrix": {"tpWeight": 1.0, "fnWeight": 2.0, "fpWeight": 0.11, "tnWeight": 1}},
            "mine": {"CostMatrix": {"tpWeight": 3, "fnWeight": 4, "fpWeight": 5}},
            "standard": {"CostMatrix": {"tpWeight": 1.0, "fnWeight": 1.0, "fpWeight": 0.11}}}"#;
        let profiles = read_profiles(json).expect("reads");
        let names: Vec<&str> = profiles.iter().map(|profile| profile.name.as_str()).collect();
        assert_eq!(names, ["standard", "reward_low_FN_rate", "mine"]);
        assert_eq!(profiles[..2], [nab_profiles()[0].clone(), nab_profiles()[2].clone()]);
        for (json, expected) in [
            ("{}", "no profiles"),
            (r#"{"a": {}}"#, "CostMatrix"),
            (r#"{"a": {"CostMatrix": {"tpWeight": 1, "fnWeight": -1, "fpWeight": 1}}}"#, "profile `a`"),
        ] {
            let error = read_profiles(json).expect_err(json);
            assert!(error.contains(expected), "{error}");
        }
    }
}
