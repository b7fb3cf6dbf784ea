//! A real browser: headless Chromium behind chromedriver, both ended when the test ends in whatever way.
//!
//! `WebDriver` is JSON over HTTP, which our own client speaks; half of what is needed here (its logs, a window narrower
//! than a desktop's) are chromedriver's own commands anyway.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http_client::request;
use crate::waiting::wait_for;

/// Keys without a letter, as `WebDriver` writes them.
pub mod keys {
    /// Tabulator.
    pub const TAB: char = '\u{E004}';
    /// Enter.
    pub const ENTER: char = '\u{E007}';
    /// Escape.
    pub const ESCAPE: char = '\u{E00C}';
    /// Arrow to the left.
    pub const LEFT: char = '\u{E012}';
    /// Arrow to the right.
    pub const RIGHT: char = '\u{E014}';
    /// Arrow down.
    pub const DOWN: char = '\u{E015}';
}

/// How long closing the browser in order may take before it is killed.
const QUIT_TIMEOUT: Duration = Duration::from_secs(10);
/// As root there is no sandbox; and nothing may be asked of the network but what a page asks.
const FLAGS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-breakpad",
    "--disable-dev-shm-usage",
];

/// A browser with one window.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    /// Held open: the driver may not write into nothing.
    _said: BufReader<ChildStdout>,
    address: SocketAddr,
    session: String,
    /// Removed after the browser has ended.
    profile: TempDir,
}

impl Browser {
    /// Starts one with a fresh profile.
    ///
    /// # Panics
    /// If chromedriver or Chromium is missing or does not start.
    pub fn start() -> Self {
        let profile = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new("chromedriver");
        // A group of its own, so that the browser is ended with its driver.
        command.arg("--port=0").process_group(0).stdin(Stdio::null()).stderr(Stdio::null());
        let spawned = command.stdout(Stdio::piped()).spawn();
        let mut driver = spawned.unwrap_or_else(|error| {
            panic!("chromedriver: {error}; apt-get install chromium chromium-driver fonts-dejavu-core")
        });
        let mut said = BufReader::new(driver.stdout.take().expect("piped"));
        let port = announced_port(&mut said);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut browser = Self { driver, _said: said, address, session: String::new(), profile };
        let mut flags: Vec<String> = FLAGS.map(str::to_owned).to_vec();
        flags.push(format!("--user-data-dir={}", browser.profile.path().display()));
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            "goog:chromeOptions": {"args": flags},
        }}});
        let session = ask(address, "POST", "/session", &wanted);
        session["sessionId"].as_str().expect("a session").clone_into(&mut browser.session);
        browser
    }

    /// Opens an address, and waits until its document and scripts are there.
    ///
    /// # Panics
    /// As every command: if the driver refuses it.
    #[track_caller]
    pub fn open(&self, url: &str) {
        self.command("POST", "url", &json!({"url": url}));
    }

    /// Makes the window so large, narrower than a desktop's can be too, and prefers light or dark.
    ///
    /// # Panics
    /// If the driver refuses it.
    #[track_caller]
    pub fn look_at(&self, width: u32, height: u32, is_dark: bool) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", &features);
    }

    /// What the body of a function returns; `arguments` are `args`.
    ///
    /// # Panics
    /// If it throws.
    #[track_caller]
    pub fn run(&self, body: &str, args: &[Value]) -> Value {
        self.command("POST", "execute/sync", &json!({"script": body, "args": args}))
    }

    /// Waits until the body of a function returns something other than `null` and `false`, and returns it.
    ///
    /// # Panics
    /// If it never does, or throws.
    #[track_caller]
    pub fn wait(&self, what: &str, body: &str, args: &[Value]) -> Value {
        wait_for(what, || {
            let value = self.run(body, args);
            (!matches!(value, Value::Null | Value::Bool(false))).then_some(value)
        })
    }

    /// The text of the first element that a selector finds, once there is one with a text that holds `part`.
    ///
    /// # Panics
    /// If there never is.
    #[track_caller]
    pub fn text_with(&self, selector: &str, part: &str) -> String {
        let find = "const found = document.querySelector(arguments[0]); \
                    return found && found.textContent.includes(arguments[1]) ? found.textContent : null;";
        let text = self.wait(&format!("`{part}` in {selector}"), find, &[selector.into(), part.into()]);
        text.as_str().expect("a text").to_owned()
    }

    /// Clicks the first element that a selector finds.
    ///
    /// # Panics
    /// If there is none, or something lies over it.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let found = self.command("POST", "element", &json!({"using": "css selector", "value": selector}));
        let id = found.as_object().and_then(|object| object.values().next()).and_then(Value::as_str);
        let id = id.expect("an element's id");
        self.command("POST", &format!("element/{id}/click"), &json!({}));
    }

    /// Presses keys, one after the other.
    ///
    /// # Panics
    /// If the driver refuses it.
    #[track_caller]
    pub fn press(&self, pressed: &[char]) {
        let strokes: Vec<Value> = pressed
            .iter()
            .flat_map(|key| {
                [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})]
            })
            .collect();
        let actions = json!({"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]});
        self.command("POST", "actions", &actions);
    }

    /// Drags the pointer between two points of the window.
    ///
    /// # Panics
    /// If the driver refuses it.
    #[track_caller]
    pub fn drag(&self, from: (i64, i64), to: (i64, i64)) {
        let middle = (i64::midpoint(from.0, to.0), i64::midpoint(from.1, to.1));
        let go = |(x, y): (i64, i64)| json!({"type": "pointerMove", "duration": 50, "x": x, "y": y});
        let moves = json!([go(from), {"type": "pointerDown", "button": 0}, go(middle), go(to), {"type": "pointerUp", "button": 0}]);
        let pointer = json!({"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": moves});
        self.command("POST", "actions", &json!({"actions": [pointer]}));
    }

    /// What the browser's console holds of errors since it was asked last.
    ///
    /// # Panics
    /// If the driver refuses it.
    #[track_caller]
    pub fn console_errors(&self) -> Vec<String> {
        let entries = self.log("browser");
        let is_error = |entry: &&Value| entry["level"] == "SEVERE";
        entries.iter().filter(is_error).map(|entry| entry["message"].to_string()).collect()
    }

    /// Addresses that were asked for since this was asked last, by pages and by the browser for them.
    ///
    /// # Panics
    /// If the driver refuses it.
    #[track_caller]
    pub fn requested(&self) -> Vec<String> {
        let events = self
            .log("performance")
            .into_iter()
            .filter_map(|entry| serde_json::from_str::<Value>(entry["message"].as_str()?).ok());
        let sent = events.filter(|event| event["message"]["method"] == "Network.requestWillBeSent");
        sent.filter_map(|event| Some(event["message"]["params"]["request"]["url"].as_str()?.to_owned()))
            .collect()
    }

    /// Writes a picture of the whole page.
    ///
    /// # Panics
    /// If it cannot be taken or written.
    #[track_caller]
    pub fn picture(&self, path: &Path) {
        let size = self
            .run("return [document.documentElement.clientWidth, document.documentElement.scrollHeight]", &[]);
        let clip = json!({"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1});
        let options = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let picture = self.devtools("Page.captureScreenshot", &options);
        let bytes = STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("base64");
        fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    #[track_caller]
    fn log(&self, kind: &str) -> Vec<Value> {
        self.command("POST", "se/log", &json!({"type": kind})).as_array().cloned().unwrap_or_default()
    }

    #[track_caller]
    fn devtools(&self, method: &str, params: &Value) -> Value {
        self.command("POST", "goog/cdp/execute", &json!({"cmd": method, "params": params}))
    }

    #[track_caller]
    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        ask(self.address, method, &format!("/session/{}/{path}", self.session), body)
    }

    /// Closes the browser in order; without panicking, since a test that failed has its own reason.
    fn quit(&self) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(QUIT_TIMEOUT))?;
        let (session, address) = (&self.session, self.address);
        write!(stream, "DELETE /session/{session} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        // It answers when the browser has closed.
        stream.read_exact(&mut [0])
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // What did not close is killed.
        let _ = self.quit();
        let group = format!("-{}", self.driver.id());
        let _ = Command::new("sh").args(["-c", "kill -s KILL -- \"$1\" 2>/dev/null", "sh", &group]).status();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn announced_port(said: &mut impl BufRead) -> u16 {
    let mut lines = said.lines().map_while(Result::ok);
    let port = lines.find_map(|line| {
        let rest = line.split_once("started successfully on port ")?.1;
        rest.trim_end_matches('.').parse().ok()
    });
    port.expect("chromedriver says which port it took")
}

/// The `value` of an answer.
#[track_caller]
fn ask(address: SocketAddr, method: &str, path: &str, body: &Value) -> Value {
    let answer = request(address, method, path, &body.to_string());
    let value = answer.json()["value"].take();
    assert_eq!(answer.status, 200, "{method} {path} {body}: {value}");
    value
}
