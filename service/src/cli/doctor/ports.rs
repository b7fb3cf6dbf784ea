//! What `htmengine doctor` sees of the addresses that the engine listens on: free, or held, and by whom.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use super::Report;
use crate::config::Settings;
use crate::engine::EngineOptions;
use crate::machine::{self, SocketHolder};

/// Name of our program, as the kernel knows its processes.
const PROGRAM: &str = "htmengine";

impl Report {
    pub(super) fn look_at_ports(&mut self, settings: &Settings, options: &EngineOptions) {
        let is_running = settings.is_engine_running().unwrap_or(false);
        let udp = options.udp.then_some(options.graphite_udp.unwrap_or(options.graphite));
        let udp_setting = if options.graphite_udp.is_some() { "graphite_udp" } else { "graphite" };
        for (what, setting, address, is_udp) in [
            ("Graphite lines", "graphite", Some(options.graphite), false),
            ("Graphite lines", udp_setting, udp, true),
            ("pickled samples", "pickle", options.pickle, false),
            ("live results", "results", options.results, false),
            ("the HTTP interface", "http", options.http, false),
            ("the web application", "web_app", options.web_app, false),
        ] {
            let Some(address) = address.filter(|address| address.port() != 0) else { continue };
            let bound = if is_udp {
                UdpSocket::bind(address).map(drop)
            } else {
                TcpListener::bind(address).map(drop)
            };
            let protocol = if is_udp { "UDP" } else { "TCP" };
            let shown = format!("{protocol} {address} for {what}");
            match bound {
                Ok(()) => self.good("port", format!("{shown} is free")),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    self.tell_holder(&shown, setting, address, is_udp, is_running);
                }
                Err(error) => {
                    self.problem("port", format!("{shown} cannot be used: {}", why(&error, setting)));
                }
            }
        }
    }

    fn tell_holder(
        &mut self,
        shown: &str,
        setting: &str,
        address: SocketAddr,
        is_udp: bool,
        is_running: bool,
    ) {
        let Some(SocketHolder { process_id, command }) = machine::socket_holder(address.port(), is_udp)
        else {
            let says = format!(
                "{shown} is taken by a process that this user may not look at: run this as root to see which, stop it, or \
                 set {setting} to another port"
            );
            if is_running {
                self.good("port", format!("{shown} is taken, as it should be while an engine runs"));
            } else {
                self.problem("port", says);
            }
            return;
        };
        if is_running && command.contains(PROGRAM) {
            self.good("port", format!("{shown} is held by the running engine, process {process_id}"));
        } else {
            self.problem(
                "port",
                format!(
                    "{shown} is taken by process {process_id} ({command}): stop it, or set {setting} to another port"
                ),
            );
        }
    }
}

fn why(error: &io::Error, setting: &str) -> String {
    if error.kind() == io::ErrorKind::PermissionDenied {
        format!("permission denied; ports below 1,024 need privileges: set {setting} to a higher one")
    } else if error.kind() == io::ErrorKind::AddrNotAvailable {
        format!("this machine has no such address: set {setting} to one of its own, or to 0.0.0.0 for all")
    } else {
        format!("{error}; check {setting}")
    }
}
