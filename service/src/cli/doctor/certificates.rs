//! What `htmengine doctor` sees of certificates: whether those of the HTTP servers, and those of the authorities that may
//! vouch for database and broker, can be used.

use super::Report;
use crate::config::Settings;
use crate::engine::EngineOptions;
use crate::tls;

impl Report {
    pub(super) fn look_at_certificates(&mut self, settings: &Settings, options: &EngineOptions) {
        if let Some(files) = &options.http_tls {
            match files.server_config() {
                Ok(_) => self.good(
                    "certificate",
                    format!("{} and its key can be served with", files.certificate.display()),
                ),
                Err(reason) => self.problem("certificate", reason),
            }
        }
        let said = settings.said();
        for (whose, file) in [("database", &said.database_ca), ("broker", &said.broker_ca)] {
            let Some(setting) = file else { continue };
            // Those that cannot be read are told by whoever tries to connect with them.
            if let Ok(found) = tls::read_certificates(&setting.value) {
                let (count, file) = (found.len(), setting.value.display());
                self.good("certificate", format!("{count} in {file} may vouch for the {whose}"));
            }
        }
    }
}
