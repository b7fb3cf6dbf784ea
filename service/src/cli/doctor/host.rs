//! What `htmengine doctor` sees of the machine: processor, memory, limits of the kernel.

use htm_core::isa::Isa;
use serde_json::{Value, json};

use super::Report;
use crate::engine::EngineOptions;
use crate::machine;

/// A model of this size is small; more of them than mappings allow means that the mappings are the limit.
const SMALL_MODEL_BYTES: usize = 256 << 10;

impl Report {
    pub(super) fn look_at_processor(&mut self) {
        self.add("processor", machine::processor().unwrap_or_else(|| "unknown".to_owned()));
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.add("processors usable", cores);
        let names: Vec<String> = Isa::available().map(|isa| isa.to_string()).collect();
        self.add("instruction sets", names.join(", "));
        self.add("instruction set used", Isa::chosen().to_string());
    }

    pub(super) fn look_at_memory(&mut self, options: &EngineOptions) {
        let budget = options.memory_budget_bytes;
        self.add("memory budget MiB", budget >> 20);
        let Some(memory) = machine::memory() else { return };
        self.add("memory MiB", memory.total >> 20);
        self.add("memory available MiB", memory.available >> 20);
        let sensible = memory.available / 4 * 3;
        if budget as u64 > sensible {
            self.warn("machine", format!(
                "the memory budget for models is {} MiB, of {} MiB available: set memory_budget_mib to {} or less, so \
                 that the kernel can keep model files and the database in memory",
                budget >> 20,
                memory.available >> 20,
                sensible >> 20
            ));
        }
    }

    pub(super) fn look_at_limits(&mut self, options: &EngineOptions) {
        let mappings = machine::max_map_count();
        let resident = options.max_resident_models.unwrap_or_else(machine::max_resident_models);
        self.add("vm.max_map_count", mappings);
        self.add("models in memory at most", resident);
        let fitting = options.memory_budget_bytes / SMALL_MODEL_BYTES;
        if fitting > resident {
            self.warn(
                "machine",
                format!(
                    "memory would hold some {fitting} small models, but only {resident} may be mapped: set \
                 vm.max_map_count to {} or more with sysctl",
                    fitting.saturating_mul(2).next_power_of_two()
                ),
            );
        }
        let files = machine::file_limit();
        let shown = |limit: Option<u64>| limit.map_or(json!("unlimited"), Value::from);
        self.add("open files, soft limit", shown(files.soft));
        self.add("open files, hard limit", shown(files.hard));
        let needed = options.listener.max_connections as u64 + options.files_beside_connections();
        if files.hard.is_some_and(|hard| hard < needed) {
            self.warn("machine", format!(
                "{} connections and all else need up to {needed} open files, the hard limit is {}, so that fewer are taken: raise it \
                 (LimitNOFILE= in systemd, nofile in limits.conf), or lower max_connections",
                options.listener.max_connections,
                shown(files.hard)
            ));
        }
    }
}
