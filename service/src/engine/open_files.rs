//! Open files that an engine may need beside the listener's connections, which leave them.

use super::EngineOptions;
use super::role::Role;
use crate::http::server::FILES_PER_SERVER;
use crate::listener::OTHER_FILES;
use crate::results::stream::MAX_FILES;

impl EngineOptions {
    /// What the engine itself needs, and what clients of the servers that it runs may take; those of HTTP need no key to
    /// connect.
    pub fn files_beside_connections(&self) -> u64 {
        let mut files = OTHER_FILES;
        if self.roles.has(Role::Http) {
            files += [self.http, self.web_app].iter().flatten().map(|_| FILES_PER_SERVER).sum::<u64>();
        }
        if self.roles.has(Role::Results) && self.results.is_some() {
            files += MAX_FILES;
        }
        files
    }
}
