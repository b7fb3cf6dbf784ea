//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Most models, threads and so on that can be asked for.
const MAX_COUNT: usize = 10_000_000;

/// Measure how many models one core can serve at one record per model and 5 minutes
#[derive(Debug, Parser)]
#[command(name = "models_per_core")]
pub(crate) struct Options {
    /// Model files to play rounds over
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = count)]
    pub(crate) models: usize,
    /// Rows that the models have seen; several ages are measured one after the other
    #[arg(long, value_name = "ROWS", default_value = "10000", value_delimiter = ',')]
    #[arg(value_parser = clap::value_parser!(i64).range(1..=10_000_000))]
    pub(crate) age: Vec<i64>,
    /// Memory for models and page cache together, such as 4GiB [default: a third of the model files]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) memory_limit: Option<u64>,
    /// Rounds of one record per model, after one that is not measured
    #[arg(long, value_name = "R", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Threads [default: all cores]
    #[arg(long, value_name = "J", default_value_t = cores(), hide_default_value = true)]
    #[arg(value_parser = count)]
    pub(crate) jobs: usize,
    /// Different models to build; the files are copies of them
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = count)]
    pub(crate) distinct: usize,
    /// Folder of more series to build models from, besides the bundled ones
    #[arg(long, value_name = "DIR")]
    pub(crate) series: Option<PathBuf>,
    /// Where aged models are kept between runs, and their copies are made
    #[arg(long, value_name = "DIR", default_value = "target/models-store")]
    pub(crate) store: PathBuf,
    /// Keep the copies, for the next run with the same models
    #[arg(long)]
    pub(crate) keep: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// Play the rounds that standard input describes: how this program calls itself
    #[arg(long, hide = true)]
    pub(crate) play: bool,
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn count(text: &str) -> Result<usize, String> {
    let number = text.parse().map_err(|error| format!("{error}"))?;
    let is_count = (1..=MAX_COUNT).contains(&number);
    is_count.then_some(number).ok_or_else(|| format!("expected 1 to {MAX_COUNT}"))
}

/// Bytes from a number with or without a unit.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        unit => return Err(format!("`{unit}` is no unit; expected KiB, MiB, GiB or TiB")),
    };
    let number: u64 = digits.trim().parse().map_err(|_| "expected a size such as 4GiB".to_owned())?;
    number.checked_mul(1 << shift).filter(|&bytes| bytes > 0).ok_or_else(|| "out of range".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(size("4GiB"), Ok(4 << 30));
        assert_eq!(size("300m"), Ok(300 << 20));
        assert_eq!(size("512"), Ok(512));
        assert!(
            size("4GB").is_err() && size("x").is_err() && size("0").is_err() && size("99999999TiB").is_err()
        );
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Options::command().debug_assert();
        let options = Options::parse_from(["models_per_core", "--age", "10000,50000"]);
        assert_eq!((options.age, options.models), (vec![10_000, 50_000], 1000));
    }
}
