//! A backlog through the whole engine: samples over TCP on one side, finished rows in the database and results at their
//! readers on the other.
//!
//! `backlog [--models N] [--rows R] [--backend sqlite|mysql] [--bus memory|rabbitmq] [--roles together|separate]
//! [--runs K] [--json]`: the first R rows of `nyc_taxi` (all 10,320 by default) for each of N metrics (1 by default), over
//! one connection. MariaDB and RabbitMQ are private instances, started and stopped by this program. With `separate`
//! every role is a process of its own.
//!
//! The baseline is the embedded default, SQLite and the bus in one process, measured in the same program run: the two
//! take turns, K times each, and the median by wall time of each is reported. Reported: wall seconds from the first byte
//! sent until every row was among the results (and, as is checked then, in the database), records per second, and CPU
//! seconds of every process that had a part in it. Beside it stands what the original htmengine did on such a machine: 70
//! records a second for one model, 35 over a hundred.

mod instances;
mod options;
mod processes;
mod report;
mod run;

use std::io;

use clap::Parser;

use self::instances::Instances;
use self::options::Options;
use self::report::Report;
use self::run::Load;

fn main() -> io::Result<()> {
    let options = Options::parse();
    options.check().map_err(io::Error::other)?;
    let load = Load::new(options.models, options.rows);
    let cases = options.cases();
    let instances = Instances::start(&cases);
    let mut measured = vec![Vec::new(); cases.len()];
    for _ in 0..options.runs {
        for (case, runs) in cases.iter().zip(&mut measured) {
            runs.push(run::measure(*case, &options, &instances, &load)?);
        }
    }
    let reports: Vec<Report> =
        cases.iter().zip(measured).map(|(case, runs)| Report::new(*case, &load, runs)).collect();
    report::print(&reports, options.json)
}
