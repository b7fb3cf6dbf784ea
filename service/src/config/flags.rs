//! The flags that every verb with an engine's data has. The order of layers is told by `htmengine config --help`.

use std::path::PathBuf;

use clap::Args;

/// Where an engine's settings and data are.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigArgs {
    /// Settings file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The engine's data folder; the engine may be running [default: htmengine-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where rows lie: sqlite (in the data folder) or mysql://user:password@host:port/database
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,
    /// Where roles meet: memory (in one process) or amqp://user:password@host:port/vhost
    #[arg(long, value_name = "URL")]
    pub broker: Option<String>,
    /// Folder of the original's rabbitmq.conf, if it lies apart from the rest of its configuration
    #[arg(long, value_name = "DIR")]
    pub rabbitmq_conf: Option<PathBuf>,
}
