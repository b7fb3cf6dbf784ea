//! The traffic tutorial's scenario without its dead data source: average speeds on 153 routes of New York's five boroughs,
//! every ten minutes, with incidents that are written down.
//!
//! Each route has its own free flow, rush hours on working days, quieter weekends and noise that remembers; an incident
//! slows one route, or all of a borough, for a while. The same seed gives the same samples everywhere, which is why the
//! generator of random numbers (`SplitMix64`) is here and not a library's, whose numbers may change with its version.
//!
//! Source: the scenario of htmengine-traffic-tutorial: its 153 routes, up to 5,000 records each, 0 to 80 miles an hour.

use htm_core::params::ValueRange;

/// Routes of the tutorial.
pub const ROUTES: usize = 153;
/// Records that the tutorial asked for of each route.
pub const RECORDS: usize = 5_000;
/// Ten minutes.
pub const STEP_S: i64 = 600;
/// Monday 3 August 2015, midnight in New York.
pub const START: i64 = 1_438_574_400;
/// Miles an hour, as the tutorial declared them.
pub const RANGE: ValueRange = ValueRange { min: 0.0, max: 80.0 };
/// Borough and how many of the routes it has.
const BOROUGHS: [(&str, usize); 5] =
    [("Manhattan", 40), ("Queens", 38), ("Brooklyn", 34), ("Bronx", 27), ("Staten_Island", 14)];
/// Incidents of single routes.
const ROUTE_INCIDENTS: u64 = 80;
/// Records before the first incident: models have learned by then.
const CALM_RECORDS: u64 = 2_000;
/// New York is four hours behind UTC in summer and autumn, until the first of November.
const ZONE_S: i64 = -4 * 3_600;
const DAY_S: i64 = 86_400;

/// One route.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Its number, from 1.
    pub number: usize,
    /// Its borough.
    pub borough: &'static str,
    free_flow: f64,
    rush: f64,
    noise: f64,
}

impl Route {
    /// Name of its metric, canonical: tags sorted.
    pub fn metric_name(&self) -> String {
        format!("traffic.speed;borough={};route={}", self.borough, self.number)
    }
}

/// Something that slowed routes.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    /// Its borough.
    pub borough: &'static str,
    /// The route; `None` for all of the borough.
    pub route: Option<usize>,
    /// From this time, unix seconds.
    pub from: i64,
    /// Up to this time.
    pub until: i64,
    /// What is left of the usual speed, 0..1.
    pub left: f64,
}

impl Incident {
    fn is_on(&self, route: &Route, timestamp: i64) -> bool {
        (self.from..self.until).contains(&timestamp)
            && self.borough == route.borough
            && self.route.is_none_or(|number| number == route.number)
    }
}

/// Routes and what happens on them.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    seed: u64,
    /// All of them, by number.
    pub routes: Vec<Route>,
    /// All of them, by time.
    pub incidents: Vec<Incident>,
}

impl Scenario {
    /// The scenario of a seed.
    pub fn new(seed: u64) -> Self {
        let mut random = SplitMix64(seed);
        let boroughs = BOROUGHS.iter().flat_map(|(name, count)| std::iter::repeat_n(*name, *count));
        let routes: Vec<Route> = (1..)
            .zip(boroughs)
            .map(|(number, borough)| Route {
                number,
                borough,
                free_flow: random.between(28.0, 62.0),
                rush: random.between(0.25, 0.6),
                noise: random.between(0.8, 2.2),
            })
            .collect();
        let last = RECORDS as u64 - 60;
        let mut incidents: Vec<Incident> = (0..ROUTE_INCIDENTS)
            .filter_map(|_| {
                let route = routes.get(random.below(ROUTES as u64))?;
                let from = START + record_time(CALM_RECORDS + random.below(last - CALM_RECORDS) as u64);
                let until = from + record_time(6 + random.below(24) as u64);
                let left = random.between(0.1, 0.35);
                Some(Incident { borough: route.borough, route: Some(route.number), from, until, left })
            })
            .collect();
        // A storm over all of Queens on a Thursday afternoon.
        let from = START + 24 * DAY_S + 14 * 3_600;
        incidents.push(Incident {
            borough: "Queens",
            route: None,
            from,
            until: from + 5 * 3_600,
            left: 0.45,
        });
        incidents.sort_by_key(|incident| incident.from);
        Self { seed, routes, incidents }
    }

    /// Speeds of one route, miles an hour: time and value of each record, in time order.
    pub fn samples(&self, route: &Route) -> impl Iterator<Item = (i64, f64)> {
        let mut random = SplitMix64(self.seed ^ (route.number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut drift = 0.0;
        (0..RECORDS as u64).map(move |record| {
            let timestamp = START + record_time(record);
            drift = 0.8 * drift + route.noise * random.bell();
            let usual = route.free_flow * (1.0 - slowing(timestamp, route.rush)) + drift;
            let incidents = self.incidents.iter().filter(|incident| incident.is_on(route, timestamp));
            let left = incidents.map(|incident| incident.left).fold(1.0, f64::min);
            let speed = (usual * left).clamp(RANGE.min, RANGE.max);
            // Two digits, as the city published them.
            (timestamp, (speed * 100.0).round() / 100.0)
        })
    }
}

/// Seconds from the start to a record.
fn record_time(record: u64) -> i64 {
    i64::try_from(record).unwrap_or(0) * STEP_S
}

/// How much of the free flow is lost at this time, 0..1.
fn slowing(timestamp: i64, rush: f64) -> f64 {
    let local = timestamp + ZONE_S;
    let is_weekend = local.div_euclid(DAY_S).rem_euclid(7) == 2 || local.div_euclid(DAY_S).rem_euclid(7) == 3;
    let second = i32::try_from(local.rem_euclid(DAY_S)).unwrap_or(0);
    let hour = f64::from(second) / 3_600.0;
    let peak = |at: f64, width: f64| (-((hour - at) / width).powi(2)).exp();
    if is_weekend {
        rush * 0.35 * peak(15.0, 4.0)
    } else {
        rush * (0.9 * peak(8.3, 1.4) + peak(17.6, 1.8) + 0.35 * peak(13.0, 3.0)).min(1.2) / 1.2
    }
}

/// Sebastiano Vigna's generator.
#[derive(Debug, Clone)]
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// 0..1.
    fn share(&mut self) -> f64 {
        let top = u32::try_from(self.next() >> 32).unwrap_or(0);
        f64::from(top) / (f64::from(u32::MAX) + 1.0)
    }

    fn between(&mut self, least: f64, most: f64) -> f64 {
        least + (most - least) * self.share()
    }

    fn below(&mut self, count: u64) -> usize {
        usize::try_from(self.next() % count).unwrap_or(0)
    }

    /// Nearly normal, with mean 0 and deviation 1.
    fn bell(&mut self) -> f64 {
        (0..12).map(|_| self.share()).sum::<f64>() - 6.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_scenario_every_time() {
        let (one, again) = (Scenario::new(7), Scenario::new(7));
        assert_eq!(one, again);
        assert_ne!(one, Scenario::new(8));
        let samples = |scenario: &Scenario| scenario.samples(&scenario.routes[9]).collect::<Vec<_>>();
        assert_eq!(samples(&one), samples(&again));
        assert_eq!(one.routes.len(), ROUTES);
        assert_eq!(one.routes[152].metric_name(), "traffic.speed;borough=Staten_Island;route=153");
    }

    #[test]
    fn speeds_have_rush_hours_weekends_and_incidents() {
        let scenario = Scenario::new(1);
        let route = &scenario.routes[0];
        let samples: Vec<(i64, f64)> = scenario.samples(route).collect();
        assert_eq!(samples.len(), RECORDS);
        assert!(samples.iter().all(|(_, speed)| (0.0..=80.0).contains(speed)));
        assert!(samples.windows(2).all(|pair| pair[1].0 - pair[0].0 == STEP_S));
        // Half past five on the first Monday, and on the Saturday after.
        let at = |day: i64, hour: i64| {
            let wanted = START + day * DAY_S + hour * 3_600;
            let near = samples.iter().filter(|(time, _)| (time - wanted).abs() <= 3_600);
            let speeds: Vec<f64> = near.map(|(_, speed)| *speed).collect();
            speeds.iter().sum::<f64>() / 13.0
        };
        assert!(at(0, 17) < at(0, 3) - 5.0, "rush hour");
        assert!(at(0, 17) < at(5, 17), "weekend");
        let storm = scenario.incidents.iter().find(|incident| incident.route.is_none()).expect("a storm");
        let queens = scenario.routes.iter().find(|route| route.borough == "Queens").expect("a route");
        let speed_at = |time: i64| {
            scenario
                .samples(queens)
                .find(|(found, _)| *found == time)
                .map(|(_, speed)| speed)
                .expect("a record")
        };
        assert!(speed_at(storm.from) < 0.7 * speed_at(storm.from - STEP_S));
    }
}
