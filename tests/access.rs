//! Promise: nobody gets in whom the settings do not let in, over whatever way; nobody on the way reads along where TLS is
//! asked for; no secret is shown; and nothing that a sender names becomes a path.

#[path = "access/browsers.rs"]
mod browsers;
#[path = "access/dependencies.rs"]
mod dependencies;
#[path = "access/keys.rs"]
mod keys;
#[path = "access/names.rs"]
mod names;
#[path = "access/reloading.rs"]
mod reloading;
#[path = "access/secrets.rs"]
mod secrets;
#[path = "access/senders.rs"]
mod senders;
#[path = "access/tls.rs"]
mod tls;

use std::fs;
use std::net::SocketAddr;

use htm_tests::program::{Server, succeed};
use tempfile::TempDir;

/// The log shows what engines say, and what those whom they are built from say of connections.
const LOG: &str = "debug";

/// An engine with a settings file, and its folder.
struct Site {
    server: Server,
    folder: TempDir,
}

impl Site {
    /// Serves everything on free loopback ports, with these lines in its settings file.
    fn start(settings: &str) -> Self {
        Self::start_with(settings, &[])
    }

    fn start_with(settings: &str, arguments: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", settings, arguments)
    }

    fn start_at(http: &str, settings: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("htmengine.toml");
        fs::write(&file, settings).expect("written");
        let file = file.to_str().expect("a temporary path is text");
        let fixed = ["--config", file, "--http", http, "--web-app", "127.0.0.1:0", "--no-monitor"];
        let server = Server::start_changed(folder.path(), fixed.iter().chain(arguments), |serve| {
            serve.env("HTMENGINE_LOG", LOG);
        });
        Self { server, folder }
    }

    /// Puts other lines into the settings file and sends SIGHUP; returns what is logged of it.
    fn reload(&self, settings: &str) -> String {
        fs::write(self.folder.path().join("htmengine.toml"), settings).expect("written");
        self.server.reload("of them took effect")
    }

    fn api(&self) -> SocketAddr {
        self.server.announced("HTTP API: http://")
    }

    fn web_app(&self) -> SocketAddr {
        self.server.announced("web application: http://")
    }
}

/// A new key, and its stanza for a settings file.
fn new_key(role: &str, name: &str) -> (String, String) {
    let printed = succeed(["key", "new", "--role", role, "--name", name]);
    let key = printed.lines().find_map(|line| line.strip_prefix("#   ")).expect("a key").to_owned();
    (key, printed)
}
