//! Promise: whoever opens the engine's address in a browser sees what was odd and why, finds every metric under whatever
//! name it has, learns where refused samples went, and needs neither a mouse nor a wide screen nor another host for it.
//!
//! Real Chromium looks at a real engine that was sent a recording. With `HTMENGINE_PICTURES` set to a folder, pictures of
//! the pages are left there, for people to look at.

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;

use htm_core::encoder::Record;
use htm_tests::browser::{Browser, keys};
use htm_tests::http_client::{get, request};
use htm_tests::program::Server;
use htm_tests::recording::series;
use htm_tests::sender::{lines, send};
use htm_tests::stored::{wait_for_rows, wait_for_scores};
use serde_json::{Value, json};
use tempfile::TempDir;

const TAXI: &str = "nyc.taxi.passengers";
/// Rows of the recording that are sent: until after the marathon of 2014-11-02.
const TAXI_ROWS: usize = 6_500;
/// The peak of the marathon's anomaly.
const MARATHON: i64 = 1_414_890_000;
/// Samples of each metric with a name that is no good one.
const HOSTILE_ROWS: usize = 40;
/// Most bytes that all files of the dashboard may have on their way.
const MAX_TRANSFER_BYTES: u64 = 300_000;
/// Every page, as an address names it.
const PAGES: [&str; 8] =
    ["#/", "#/metrics", "#/heat", "#/investigate", "#/compare?glob=*", "#/alerts", "#/rejects", "#/settings"];

/// Names that would do harm, or break an address, if they were not only ever shown.
fn hostile_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "<script>document.title='ran'</script>",
        "<img/src=x/onerror=document.title='ran'>",
        "it's_\"quoted\"_&lt_<b>bold</b>",
        "a/b%2Fc?x=1#frag",
        "100%",
        "%zz",
        "..",
        "javascript:document.title='ran'",
        "=cmd|'/C_calc'!A0",
        "temp.\u{fc}n\u{ef}c\u{f6}d\u{e9}.\u{6e29}\u{5ea6}.\u{1f321}\u{202e}abc",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push("x".repeat(255));
    names
}

/// An engine with its dashboard, and a browser that looks at it.
struct Site {
    browser: Browser,
    server: Server,
    address: SocketAddr,
    _folder: TempDir,
}

impl Site {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = Server::start(folder.path(), ["--http", "127.0.0.1:0"]);
        let address = server.announced("HTTP API: http://");
        Self { browser: Browser::start(), server, address, _folder: folder }
    }

    /// With the recording, hostile names, and a line that nobody can read.
    fn start_with_data() -> Self {
        let site = Self::start();
        let taxi: Vec<Record> =
            series("nyc_taxi").into_iter().map(|(_, record)| record).take(TAXI_ROWS).collect();
        send(site.server.address(), lines(TAXI, &taxi).as_bytes());
        for name in hostile_names() {
            send(site.server.address(), lines(&name, &taxi[TAXI_ROWS - HOSTILE_ROWS..]).as_bytes());
        }
        send(site.server.address(), b"cpu <b>hot</b> 1414890000\ncpu 1 1414890000000\n");
        let repository = site.server.repository();
        for name in hostile_names() {
            wait_for_rows(&repository, &name, HOSTILE_ROWS);
        }
        wait_for_scores(&repository, TAXI, TAXI_ROWS);
        site
    }

    /// Loads the dashboard at a page, and waits until that is drawn.
    #[track_caller]
    fn open(&self, page: &str) {
        // A new document, also where only what comes after `#` differs.
        self.browser.open("about:blank");
        self.browser.open(&format!("http://{}/{page}", self.address));
        self.wait_for_page(page);
    }

    /// Goes to a page within the document, as a link does, and waits until it is drawn.
    #[track_caller]
    fn go(&self, page: &str) {
        let leave = "document.querySelector('.page')?.classList.add('left'); location.hash = arguments[0];";
        self.browser.run(leave, &[page.into()]);
        self.wait_for_page(page);
    }

    #[track_caller]
    fn wait_for_page(&self, page: &str) {
        let is_drawn = "const main = document.getElementById('main'); \
                        return main.getAttribute('aria-busy') === 'false' \
                        && main.querySelector('.page:not(.left) h1') !== null;";
        self.browser.wait(&format!("the page {page}"), is_drawn, &[]);
    }

    fn is_nothing_wrong(&self) {
        let errors = self.browser.console_errors();
        assert!(errors.is_empty(), "the console says: {errors:#?}");
        let home = format!("http://{}/", self.address);
        let foreign: Vec<String> = self
            .browser
            .requested()
            .into_iter()
            .filter(|url| url.starts_with("http") && !url.starts_with(&home) || url.starts_with("ws"))
            .collect();
        assert!(foreign.is_empty(), "asked of others: {foreign:?}");
    }

    fn picture(&self, name: &str) {
        if let Some(folder) = env::var_os("HTMENGINE_PICTURES") {
            self.browser.picture(&PathBuf::from(folder).join(format!("{name}.png")));
        }
    }
}

/// A name as an address holds it.
fn encoded(site: &Site, name: &str) -> String {
    let text = site.browser.run("return encodeURIComponent(arguments[0]);", &[name.into()]);
    text.as_str().expect("a text").to_owned()
}

#[test]
fn a_recording_is_seen_with_what_was_odd_in_it_and_why() {
    let site = Site::start_with_data();
    site.browser.look_at(1_600, 1_000, false);
    the_overview_lists_the_anomaly(&site);
    the_metric_page_explains_the_marathon(&site);
    a_stretch_that_is_dragged_over_is_loaded_anew(&site);
    times_are_of_the_chosen_zone(&site);
    the_heat_strip_leads_to_the_metric_with_keys_alone(&site);
    refused_samples_are_told_with_reason_and_example(&site);
    hostile_names_are_text_and_lead_to_their_metrics(&site);
    buttons_of_a_metric_do_what_they_say(&site);
    everything_is_reached_with_the_keyboard(&site);
    no_page_is_wider_than_a_telephone(&site);
    all_files_together_are_small(&site);
    site.is_nothing_wrong();
    pictures_are_taken(&site);
    a_lost_engine_is_told(site);
}

fn the_overview_lists_the_anomaly(site: &Site) {
    site.open("");
    site.browser.text_with(".health", "Healthy");
    let list = site.browser.text_with(".ranked", "2014-11-02 01:00");
    assert!(list.contains(TAXI), "{list}");
    site.browser.text_with(".heat-labels", TAXI);
    site.browser.text_with("#link-state", "live");
}

fn the_metric_page_explains_the_marathon(site: &Site) {
    site.go(&format!("#/metric/{TAXI}?at={MARATHON}"));
    site.browser.text_with(".explained-time", "2014-11-02 01:00");
    let why = site.browser.text_with(".sentences", "39197");
    assert!(why.contains("usual at this time of day"), "{why}");
    let fired = site.browser.text_with(".components", "Time of day");
    assert!(fired.contains("beyond all seen"), "{fired}");
    let list = site.browser.text_with(".anomaly-list", "2014-11-02 01:00");
    assert!(list.contains("value 39\u{202f}197"), "{list}");
    let panes = site.browser.run("return document.querySelectorAll('.pane canvas').length;", &[]);
    assert_eq!(panes, 4, "value, raw anomaly score, anomaly score and detection score");
    // Export leads to the rows in view.
    let export = "const link = document.querySelector('a[download$=\".csv\"]'); \
                  link.addEventListener('click', (event) => event.preventDefault()); link.click(); return link.href;";
    let address = site.browser.run(export, &[]);
    let address = address.as_str().expect("an address");
    let path = address.split_once(&site.address.to_string()).expect("our own address").1;
    let rows = get(site.address, path);
    assert_eq!(rows.status, 200, "{path}: {rows:?}");
    assert!(rows.body.contains("39197"), "{path}");
}

/// Ends of the window that the metric page's charts show, as its address says.
fn window_in_address(site: &Site) -> Option<(i64, i64)> {
    let hash = site.browser.run("return location.hash;", &[]);
    let options = hash.as_str()?.split_once('?')?.1.to_owned();
    let option = |name: &str| options.split('&').find_map(|pair| pair.strip_prefix(name)?.parse().ok());
    Some((option("from=")?, option("until=")?))
}

fn a_stretch_that_is_dragged_over_is_loaded_anew(site: &Site) {
    site.go(&format!("#/metric/{TAXI}"));
    site.browser.text_with(".span-label", "6\u{202f}500 samples");
    let place = "const box = document.querySelector('.pane-value .u-over').getBoundingClientRect(); \
                 return [box.left, box.top, box.width, box.height].map(Math.round);";
    let place = site.browser.run(place, &[]);
    let at = |index: usize| place[index].as_i64().expect("a number");
    let height = at(1) + at(3) / 2;
    site.browser.drag((at(0) + at(2) / 4, height), (at(0) + at(2) / 2, height));
    let shown =
        "return document.querySelector('.span-label').textContent.includes('6\\u202f500') ? null : true;";
    site.browser.wait("a shorter window", shown, &[]);
    let (from, until) = window_in_address(site).expect("a window in the address");
    let share = (until - from) * 100 / (i64::try_from(TAXI_ROWS).expect("few") * 1_800);
    assert!((20..=30).contains(&share), "a quarter was dragged over, {share} % are shown");
    // The address leads back to the same.
    let hash = site.browser.run("return location.hash;", &[]);
    site.open(hash.as_str().expect("an address"));
    assert_eq!(window_in_address(site), Some((from, until)));
    site.browser.run(
        "document.querySelector('.pane-value .u-over').dispatchEvent(new MouseEvent('dblclick', {bubbles: true}));",
        &[],
    );
    site.browser.text_with(".span-label", "6\u{202f}500 samples");
}

fn times_are_of_the_chosen_zone(site: &Site) {
    let choose = "const zone = document.getElementById('zone'); zone.value = arguments[0]; \
                  zone.dispatchEvent(new Event('change')); return zone.value;";
    let zone = site.browser.run(choose, &["America/New_York".into()]);
    assert_eq!(zone, "America/New_York");
    site.browser.text_with(".anomaly-list", "2014-11-01 21:00");
    site.browser.run(choose, &["UTC".into()]);
    site.browser.text_with(".anomaly-list", "2014-11-02 01:00");
}

fn the_heat_strip_leads_to_the_metric_with_keys_alone(site: &Site) {
    site.go("#/heat");
    site.browser.text_with(".heat-labels", TAXI);
    site.browser.run("document.querySelector('.heat-surface').focus();", &[]);
    site.browser.press(&[keys::RIGHT, keys::LEFT, keys::LEFT]);
    let said = site.browser.text_with("#spoken", TAXI);
    assert!(said.contains("2014-"), "{said}");
    // The oddest metric comes first; its marathon is a cell of the strip.
    let colours = "const canvas = document.querySelector('.heat-canvas'); const ratio = devicePixelRatio; \
                   const row = canvas.getContext('2d').getImageData(0, 10 * ratio, canvas.width, 1).data; \
                   const found = new Set(); \
                   for (let at = 0; at < row.length; at += 4) found.add(row.slice(at, at + 3).join()); \
                   return found.size;";
    let colours = site.browser.run(colours, &[]);
    assert!(colours.as_i64() >= Some(3), "{colours} colours in the row of {TAXI}");
    site.browser.press(&[keys::ENTER]);
    site.browser.text_with("h1", TAXI);
    let search = "const field = document.querySelector('.tools input[type=search]'); field.value = 'BOLD'; \
                  field.dispatchEvent(new Event('input'));";
    site.go("#/heat");
    site.browser.run(search, &[]);
    site.browser.text_with(".pager", "1 to 1 of 1 metric");
}

fn refused_samples_are_told_with_reason_and_example(site: &Site) {
    site.go("#/rejects");
    let list = site.browser.text_with(".reject-list", "bad_value");
    for part in
        ["cpu <b>hot</b> 1414890000", "decimal number", "timestamp_not_seconds", "divide milliseconds"]
    {
        assert!(list.contains(part), "`{part}` is not in {list}");
    }
    site.browser.text_with(".way", "Refused2");
}

fn hostile_names_are_text_and_lead_to_their_metrics(site: &Site) {
    site.go("#/metrics");
    let shown = site
        .browser
        .run("return [...document.querySelectorAll('.metric-name')].map((one) => one.textContent);", &[]);
    for name in hostile_names() {
        let is_shown = shown.as_array().is_some_and(|names| names.contains(&json!(name)));
        assert!(is_shown, "{name} is not shown as it is: {shown}");
    }
    for name in hostile_names() {
        let follow = "const links = [...document.querySelectorAll('.metric-name')]; \
                      links.find((one) => one.textContent === arguments[0]).click();";
        site.browser.run(follow, &[json!(name)]);
        let is_there = "const heading = document.querySelector('.metric-head h1'); \
                        return heading && heading.textContent === arguments[0] \
                        && document.querySelector('.span-label')?.textContent.includes('40 samples');";
        site.browser.wait(&format!("the page of {name}"), is_there, &[json!(name)]);
        site.go("#/metrics");
    }
    let options: Vec<String> =
        hostile_names().iter().map(|name| format!("m={}", encoded(site, name))).collect();
    site.go(&format!("#/compare?{}", options.join("&")));
    let are_drawn = "const all = [...document.querySelectorAll('.multiple')]; \
                     const drawn = all.filter((one) => one.querySelector('canvas')); \
                     return drawn.length === arguments[0] \
                     && drawn.map((one) => one.querySelector('.metric-name').textContent);";
    let compared = site.browser.wait("a chart of each", are_drawn, &[json!(hostile_names().len())]);
    assert_eq!(compared, json!(hostile_names()));
    let made =
        site.browser.run("return document.querySelectorAll('main script, main img, main b').length;", &[]);
    let title = site.browser.run("return document.title;", &[]);
    assert_eq!((made, title), (json!(0), json!("Compare - htmengine")), "a name was taken for markup");
}

fn buttons_of_a_metric_do_what_they_say(site: &Site) {
    let name = hostile_names().swap_remove(2);
    site.go(&format!("#/metric/{}", encoded(site, &name)));
    let state = || {
        let path = format!("/api/v1/metrics/{}", encoded(site, &name));
        let answer = get(site.address, &path);
        (answer.status == 200).then(|| answer.json())
    };
    let press = |label: &str| {
        let find = "const wanted = [...document.querySelectorAll('.actions button')] \
                    .find((one) => one.textContent === arguments[0]); \
                    if (wanted) wanted.click(); return Boolean(wanted);";
        site.browser.wait(&format!("a button `{label}`"), find, &[label.into()]);
    };
    press("Stop monitoring");
    site.browser.text_with("dialog", "Stop monitoring?");
    site.browser.click("dialog button.danger");
    press("Monitor with a range");
    assert_eq!(state().expect("a metric")["state"], "unmonitored");
    let fill = "const [low, high] = document.querySelectorAll('.inline-form input'); \
                low.value = '0'; high.value = '40000';";
    site.browser.run(fill, &[]);
    site.browser.click(".inline-form button.main");
    press("Stop monitoring");
    let range = &state().expect("a metric")["range"];
    assert_eq!(
        (&range["min"], &range["max"], &range["learned"]),
        (&json!(0.0), &json!(40_000.0), &json!(false))
    );
    site.browser.click("dialog button.danger");
    press("Monitor");
    site.browser.wait("a monitored metric", "return document.querySelector('.actions button.danger') !== null \
        && [...document.querySelectorAll('.actions button')].some((one) => one.textContent === 'Stop monitoring');", &[]);
    assert_ne!(state().expect("a metric")["state"], "unmonitored");
    press("Delete");
    site.browser.text_with("dialog", "Delete the metric?");
    site.browser.click("dialog button.danger");
    site.browser.text_with("h1", "Metrics");
    assert_eq!(state(), None, "the metric is still there");
    send(site.server.address(), format!("{name} 1 1414890000\n").as_bytes());
    wait_for_rows(&site.server.repository(), &name, 1);
}

fn everything_is_reached_with_the_keyboard(site: &Site) {
    site.open("");
    site.browser.text_with(".ranked", TAXI);
    let focused = "const at = document.activeElement; \
                   return at.id || at.getAttribute('aria-label') || at.textContent.trim().slice(0, 40);";
    let mut reached = Vec::new();
    for _ in 0..40 {
        site.browser.press(&[keys::TAB]);
        reached.push(site.browser.run(focused, &[]).as_str().unwrap_or_default().to_owned());
    }
    assert_eq!(reached[0], "skip", "{reached:?}");
    for wanted in ["Overview", "Heat strip", "Settings", "zone", "theme", "Window of time", "Earlier", TAXI] {
        assert!(reached.iter().any(|one| one.starts_with(wanted)), "`{wanted}` is not reached: {reached:?}");
    }
    let outline = site.browser.run("return getComputedStyle(document.activeElement).outlineStyle;", &[]);
    assert_ne!(outline, "none", "where one is can be seen");
}

fn no_page_is_wider_than_a_telephone(site: &Site) {
    site.browser.look_at(360, 780, false);
    let metric = format!("#/metric/{TAXI}?at={MARATHON}");
    let long = format!("#/metric/{}", "x".repeat(255));
    for page in PAGES.into_iter().chain([metric.as_str(), long.as_str()]) {
        site.go(page);
        let width = site.browser.run("return document.documentElement.scrollWidth;", &[]);
        assert!(width.as_i64() <= Some(360), "{page} is {width} wide");
    }
    site.open("");
    let menu = "const link = document.querySelector('#nav a'); return link.checkVisibility();";
    assert_eq!(site.browser.run(menu, &[]), false);
    site.browser.click("#menu-button");
    assert_eq!(site.browser.run(menu, &[]), true);
    site.browser.press(&[keys::TAB, keys::ESCAPE]);
    assert_eq!(site.browser.run(menu, &[]), false);
    site.browser.look_at(1_600, 1_000, false);
}

fn all_files_together_are_small(site: &Site) {
    site.open("");
    let sizes = "return [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')] \
                 .filter((entry) => !entry.name.includes('/api/')).map((entry) => [entry.name, entry.encodedBodySize]);";
    let sizes = site.browser.run(sizes, &[]);
    let sizes = sizes.as_array().expect("a list");
    assert!(sizes.len() > 30, "{sizes:?}");
    let all: u64 = sizes.iter().filter_map(|entry| entry[1].as_u64()).sum();
    assert!((20_000..MAX_TRANSFER_BYTES).contains(&all), "{all} bytes: {sizes:?}");
}

/// Pages for people to look at, wide and narrow, light and dark.
fn pictures_are_taken(site: &Site) {
    if env::var_os("HTMENGINE_PICTURES").is_none() {
        return;
    }
    let metric = format!("#/metric/{TAXI}?at={MARATHON}");
    let pages = [
        ("overview", "", ".heat-canvas"),
        ("metric", metric.as_str(), ".sentences"),
        ("heat", "#/heat", ".heat-canvas"),
        ("rejects", "#/rejects", ".reject"),
    ];
    for (width, height) in [(360, 780), (1_600, 1_000)] {
        for (theme, is_dark) in [("light", false), ("dark", true)] {
            site.browser.look_at(width, height, is_dark);
            for (name, page, drawn) in pages {
                site.open(page);
                let is_there = "return document.querySelector(arguments[0]) !== null && document.getElementById('version').textContent !== '';";
                site.browser.wait(&format!("{drawn} of {name}"), is_there, &[drawn.into()]);
                site.picture(&format!("{name}-{width}-{theme}"));
            }
        }
    }
}

fn a_lost_engine_is_told(site: Site) {
    site.browser.look_at(1_600, 1_000, false);
    site.go("#/settings");
    let Site { browser, server, .. } = site;
    server.kill();
    browser.text_with("#banner:not([hidden])", "does not answer");
    browser.text_with("#link-state", "no answer");
}

#[test]
fn without_metrics_it_says_how_to_send_the_first_one() {
    let site = Site::start();
    site.browser.look_at(1_600, 1_000, false);
    site.open("");
    let line = site.browser.text_with(".copyable pre", "nc -q0");
    // The port was the system's choice, and its settings do not say which it was.
    assert!(line.ends_with("nc -q0 127.0.0.1 PORT"), "{line}");
    site.picture("empty-1600-light");
    for page in PAGES.into_iter().rev() {
        site.go(page);
    }
    site.browser.text_with("#main", "No metrics yet");
    site.is_nothing_wrong();
    // What comes appears by itself.
    send(site.server.address(), b"cpu.load 0.5 1414890000\n");
    site.browser.text_with(".tiles", "Metrics1");
}

#[test]
fn its_files_may_load_nothing_from_elsewhere_and_are_sent_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), ["--http", "127.0.0.1:0"]);
    let address = server.announced("HTTP API: http://");
    let index = get(address, "/");
    assert_eq!((index.status, index.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = index.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(index.header("x-content-type-options"), Some("nosniff"));
    assert_eq!((index.header("cache-control"), index.header("etag").is_some()), (Some("no-cache"), true));
    for path in ["/assets/", "/assets/other.js", "/assets/../Cargo.toml", "/assets/%2e%2e/Cargo.toml"] {
        assert_eq!(get(address, path).status, 404, "{path}");
    }
    assert_eq!(request(address, "POST", "/", "").status, 405);
    let value: Value = get(address, "/assets/other.js").json();
    assert_eq!(value["error"]["name"], "NoSuchRoute");
}
