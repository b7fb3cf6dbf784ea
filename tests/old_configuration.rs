//! Promise: whoever ran the original starts with the same configuration folder: every option has the effect it had, or it
//! is said why not; `overrides/` and environment variables lie over the files as they did; our flags, variables and
//! settings file lie over that; and every value tells where it was said.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use htm_core::encoder::Record;
use htm_core::params::ValueRange;
use htm_tests::old_configuration::{OldConfiguration, RABBITMQ};
use htm_tests::program::{Server, command};
use htm_tests::recording::series;
use htm_tests::sender::{lines, send};
use htm_tests::stored::{metric, monitor, wait_for_scores};
use htmengine::backends::{BusChoice, RepositoryChoice};
use htmengine::bus::rabbitmq::RabbitSettings;
use htmengine::config::environment::Environment;
use htmengine::config::table::Said;
use htmengine::config::{ConfigArgs, ConfigError, Settings};
use htmengine::control::STATUS_FILE;
use htmengine::repository::mysql::MysqlSettings;
use serde_json::{Value, json};

type Variables<'a> = &'a [(&'a str, &'a str)];

/// What `htmengine config VERB` says, with exit code, standard output and standard error.
fn ask(
    verb: &str,
    config: &OldConfiguration,
    variables: Variables<'_>,
    flags: &[&str],
) -> (i32, String, String) {
    let mut command = command(["config", verb]);
    command.args(flags).env("APPLICATION_CONFIG_PATH", config.path()).envs(variables.iter().copied());
    let output = command.output().expect("the program can be run");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
}

/// The effective settings: name to value and layer.
fn shown(
    config: &OldConfiguration,
    variables: Variables<'_>,
    flags: &[&str],
) -> BTreeMap<String, (Value, String)> {
    let (code, stdout, stderr) = ask("show", config, variables, &[&["--json"], flags].concat());
    assert_eq!(code, 0, "{stderr}");
    let all: Value = serde_json::from_str(&stdout).expect("JSON");
    let settings = all["settings"].as_object().expect("an object");
    let entry = |(name, it): (&String, &Value)| {
        (name.clone(), (it["value"].clone(), it["layer"].as_str().expect("text").to_owned()))
    };
    settings.iter().map(entry).collect()
}

#[track_caller]
fn refused(config: &OldConfiguration, parts: &[&str]) {
    let (code, stdout, stderr) = ask("check", config, &[], &[]);
    assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
    for part in parts {
        assert!(stderr.contains(part), "`{part}` is not in: {stderr}");
    }
}

#[track_caller]
fn warned(config: &OldConfiguration, variables: Variables<'_>, parts: &[&str]) {
    let (code, stdout, stderr) = ask("check", config, variables, &[]);
    assert_eq!(code, 0, "{stderr}");
    let is_warning =
        |line: &&str| line.starts_with("warning: ") && parts.iter().all(|part| line.contains(part));
    assert_eq!(stdout.lines().filter(is_warning).count(), 1, "not one warning with {parts:?} in:\n{stdout}");
}

fn loaded(config: &OldConfiguration, variables: Variables<'_>) -> Result<Settings, ConfigError> {
    let path = config.path();
    let folder = ("APPLICATION_CONFIG_PATH", path.to_str().expect("text"));
    let all = variables.iter().copied().chain([folder]);
    let environment = Environment::new(all.map(|(name, value)| (name.to_owned(), value.to_owned())));
    Settings::load_in(&ConfigArgs::default(), Said::default(), &environment)
}

fn mysql(settings: &Settings) -> MysqlSettings {
    let RepositoryChoice::Mysql(mysql) = settings.repository_choice() else { panic!("MySQL is asked for") };
    mysql
}

fn rabbit(settings: &Settings) -> RabbitSettings {
    let BusChoice::Rabbitmq(rabbit) = settings.bus_choice() else { panic!("RabbitMQ is asked for") };
    rabbit
}

#[test]
fn every_option_has_its_effect_and_tells_its_line() {
    let config = OldConfiguration::new();
    let settings = shown(&config, &[], &[]);
    let line = |file: &str, line: usize| format!("file {}:{line}", config.path().join(file).display());
    let root = config.models();
    for (name, value, layer) in [
        ("database", json!("mysql"), line("application.conf", 7)),
        ("database.host", json!("127.0.0.1"), line("application.conf", 8)),
        ("database.user", json!("root"), line("application.conf", 9)),
        ("database.password", json!(""), line("application.conf", 10)),
        ("database.port", json!(3306), line("application.conf", 11)),
        ("database.name", json!("skeleton"), line("application.conf", 7)),
        ("broker", json!("rabbitmq"), line("application.conf", 7)),
        ("broker.host", json!("localhost"), "default".to_owned()),
        ("broker.vhost", json!("/"), "default".to_owned()),
        ("broker.password", json!("***"), "default".to_owned()),
        ("queues.data", json!("skeleton.metric.custom.data"), line("application.conf", 24)),
        ("queues.hints", json!("skeleton.mswapper.scheduler.notification"), line("model-swapper.conf", 7)),
        ("queues.scores", json!("skeleton.mswapper.results"), line("model-swapper.conf", 5)),
        ("queues.results", json!("skeleton.model.results"), line("application.conf", 18)),
        ("graphite", json!("0.0.0.0:2003"), line("application.conf", 23)),
        ("models_dir", json!(root.to_str()), line("model-checkpoint.conf", 2)),
        ("data_dir", json!(root.join(".htmengine").to_str()), line("model-checkpoint.conf", 2)),
        ("checkpoint_rows", json!(500), line("model-swapper.conf", 10)),
        ("profiling", json!(false), line("model-swapper.conf", 2)),
        ("monitor", json!([]), "default".to_owned()),
    ] {
        assert_eq!(settings[name], (value, layer), "{name}");
    }
    let table = ask("show", &config, &[], &[]).1;
    assert!(table.starts_with("SETTING") && table.contains("skeleton.mswapper.results"), "{table}");
}

#[test]
fn overrides_and_variables_lie_over_the_files() {
    let config = OldConfiguration::new();
    config.write(
        "overrides/application.conf",
        "[repository]\nport = 3307\nhost = db\n\n[metric_streamer]\nprefix = p\n",
    );
    config.write("overrides/model-swapper.conf", "[debugging]\nprofiling = Yes\n");
    let name = "_NTA_UTILS_CONFIG__APPLICATION__REPOSITORY__HOST";
    let vhost = "_NTA_UTILS_CONFIG__RABBITMQ__CONNECTION__VIRTUAL_HOST";
    let settings = shown(&config, &[(name, "elsewhere"), (vhost, "test")], &[]);
    let overridden = format!("override {}", config.path().join("overrides/application.conf").display());
    assert_eq!(settings["database.port"], (json!(3307), format!("{overridden}:2")));
    assert_eq!(settings["database.host"], (json!("elsewhere"), format!("environment {name}")));
    assert_eq!(
        settings["broker.vhost"],
        (json!("test"), format!("environment {vhost}")),
        "its template has it"
    );
    assert_eq!(settings["queues.results"].0, json!("p.model.results"), "merged, then replaced");
    assert_eq!(settings["profiling"].0, json!(true), "either switches it on");
    assert_eq!(settings["database.name"].0, json!("skeleton"), "what is not overridden stays");
}

#[test]
fn flags_variables_and_our_file_come_before_the_old_files() {
    let config = OldConfiguration::new();
    let toml = config.path().join("htmengine.toml");
    let text = "graphite = \"127.0.0.1:1\"\ncheckpoint_rows = 7\nbroker = \"amqps://u:geheim@mq/v\"\n\n[queues]\ndata = \"ours\"\n";
    fs::write(&toml, text).expect("written");
    let toml = toml.to_str().expect("text");
    let file = |line: usize| format!("file {toml}:{line}");
    let settings = shown(&config, &[], &["--config", toml]);
    assert_eq!(settings["graphite"], (json!("127.0.0.1:1"), file(1)));
    assert_eq!(settings["broker.host"], (json!("mq"), file(3)));
    assert_eq!(settings["broker.tls"].0, json!(true));
    assert_eq!(settings["broker.port"].0, json!(5671), "a whole address leaves nothing to the old files");
    assert_eq!(settings["queues.data"], (json!("ours"), file(6)));
    assert_eq!(settings["queues.hints"].0, json!("skeleton.mswapper.scheduler.notification"));

    let old = "_NTA_UTILS_CONFIG__APPLICATION__METRIC_LISTENER__PLAINTEXT_PORT";
    let variables =
        [(old, "4"), ("HTMENGINE_BROKER", "amqp://env/e"), ("HTMENGINE_DATABASE", "mysql://env/e")];
    let settings = shown(&config, &variables, &["--config", toml]);
    assert_eq!(settings["graphite"], (json!("0.0.0.0:4"), format!("environment {old}")));
    assert_eq!(settings["broker.host"], (json!("env"), "environment HTMENGINE_BROKER".to_owned()));
    assert_eq!(settings["database.name"], (json!("e"), "environment HTMENGINE_DATABASE".to_owned()));

    let flags = ["--config", toml, "--broker", "memory", "--database", "mysql://flag/f", "--data-dir", "d"];
    let settings = shown(&config, &variables, &flags);
    assert_eq!(settings["database.host"], (json!("flag"), "flag --database".to_owned()));
    assert_eq!(settings["data_dir"], (json!("d"), "flag --data-dir".to_owned()));
    assert_eq!(settings["broker"], (json!("memory"), "flag --broker".to_owned()));
    assert!(!settings.contains_key("broker.host"), "no part of a broker that is not used is shown");
}

#[test]
fn what_is_missing_is_told_with_what_the_template_has() {
    let config = OldConfiguration::new();
    config.replace("application.conf", "queue_name = skeleton.metric.custom.data\n", "");
    config.replace("model-swapper.conf", "[model_runner]\n", "[Model_runner]\n");
    refused(
        &config,
        &[
            "application.conf has no option queue_name in [metric_listener]",
            "'queue_name = htmengine.metric.custom.data'",
            "model-swapper.conf has no option target_requests_per_checkpoint in [model_runner]",
        ],
    );
    let variable = ("_NTA_UTILS_CONFIG__APPLICATION__METRIC_LISTENER__QUEUE_NAME", "x");
    assert!(loaded(&config, &[variable]).is_err(), "a variable counts only for an option that is in a file");
    fs::remove_file(config.path().join("model-swapper.conf")).expect("removed");
    refused(&config, &["model-swapper.conf is missing", "APPLICATION_CONFIG_PATH", "model-checkpoint.conf"]);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let config = OldConfiguration::new();
    config.replace("application.conf", "port = 3306 ", "port = many ");
    config.replace("application.conf", "profiling = false", "profiling = perhaps");
    config.replace("application.conf", "prefix = skeleton", "prefix = %(nowhere)s");
    config.replace("model-checkpoint.conf", config.models().to_str().expect("text"), "$NOT_SET/models");
    refused(
        &config,
        &[
            "application.conf:11: option port of [repository] in application.conf is 'many'; expected a port",
            "option profiling of [debugging] in application.conf is 'perhaps'; expected 1, yes, true or on",
            "application.conf:18: option results_exchange_name of [metric_streamer] refers to %(nowhere)s",
            "expected an absolute path once variables and ~ are replaced; it is then '$NOT_SET/models'",
        ],
    );
    config.write("application.conf", "nonsense\n");
    refused(&config, &["application.conf:1 is a line before the first [section]"]);
}

#[test]
fn what_has_no_effect_is_told_with_the_reason() {
    let config = OldConfiguration::new();
    config.replace("application.conf", "statistics_refresh_rate = 24", "statistics_refresh_rate = 12");
    config.replace("application.conf", "[debugging]\n", "[debugging]\nprofilling = true\n");
    config.write("rabbitmq.conf", RABBITMQ);
    let stray = "_NTA_UTILS_CONFIG__APPLICATION__REPOSITORY__NAME";
    let variables = [(stray, "x")];
    for parts in [
        ["option statistics_refresh_rate", "24 is built into the anomaly likelihood"],
        ["option chunk_size", "scores do not depend on how rows are batched"],
        ["option model_input_queue_prefix", "models have no queues"],
        ["option poll_interval of [metric_collector]", "nor did those of the original"],
        ["option metric_error_grace_period of [metric_collector]", "has no effect"],
        ["option port of [management]", "the broker's own protocol"],
        ["option profilling of [debugging]", "is unknown and has no effect"],
        [stray, "no file has such an option"],
    ] {
        warned(&config, &variables, &parts);
    }
    let (_, stdout, _) = ask("check", &config, &[], &[]);
    assert!(
        !stdout.contains("statistics_sample_size"),
        "what equals the built-in value is not told: {stdout}"
    );
    assert!(!stdout.contains("option prefix"), "what others refer to is used: {stdout}");
    assert!(stdout.ends_with("the configuration can be used; 7 warnings\n"), "{stdout}");
}

#[test]
fn passwords_of_any_characters_arrive_and_are_never_shown() {
    let config = OldConfiguration::new();
    let password = "p@ss:w/o;rd#1=%(x)s'\"";
    let written = password.replace('%', "%%");
    config.replace("application.conf", "passwd =\n", &format!("passwd = {written}\n"));
    config.write("overrides/rabbitmq.conf", &format!("[credentials]\nuser = me\npassword = {written}\n"));
    let settings = loaded(&config, &[]).expect("valid");
    assert_eq!(mysql(&settings).password, password);
    let RabbitSettings { host, user, password: found, .. } = rabbit(&settings);
    assert_eq!((host.as_str(), user.as_str(), found.as_str()), ("localhost", "me", password));
    let (_, stdout, stderr) = ask("show", &config, &[], &[]);
    assert!(!stdout.contains("p@ss") && !stderr.contains("p@ss"), "{stdout}{stderr}");
    assert!(stdout.contains("***"), "{stdout}");
    assert!(!format!("{settings:?}").contains("p@ss"), "nor in any log");
    let variable = "_NTA_UTILS_CONFIG__APPLICATION__REPOSITORY__PASSWD";
    let settings = loaded(&config, &[(variable, "a%b%%c")]).expect("valid");
    assert_eq!(mysql(&settings).password, "a%b%%c", "a variable is taken as it is");
}

#[test]
fn the_brokers_file_is_found_where_it_may_lie() {
    let config = OldConfiguration::new();
    let settings = loaded(&config, &[]).expect("valid");
    assert_eq!(rabbit(&settings).user, "guest", "the template's");
    config.write("rabbitmq.conf", &RABBITMQ.replace("user = guest", "user = beside"));
    assert_eq!(rabbit(&loaded(&config, &[]).expect("valid")).user, "beside");
    config.write("apart/rabbitmq.conf", &RABBITMQ.replace("user = guest", "user = apart"));
    config.write("apart/overrides/rabbitmq.conf", "[connection]\nport = 5673\n");
    let apart = config.path().join("apart");
    let apart = apart.to_str().expect("text");
    let settings = loaded(&config, &[("HTMENGINE_RABBITMQ_CONF_PATH", apart)]).expect("valid");
    let RabbitSettings { user, port, .. } = rabbit(&settings);
    assert_eq!((user.as_str(), port), ("apart", 5673), "who names a folder means it");
    let settings = shown(&config, &[], &["--rabbitmq-conf", apart]);
    assert_eq!(settings["broker.user"].0, json!("apart"));
    let empty = tempfile::tempdir().expect("a folder");
    let named = ("HTMENGINE_RABBITMQ_CONF_PATH", empty.path().to_str().expect("text"));
    let error = loaded(&config, &[named]).expect_err("refused").to_string();
    assert!(error.contains("there is neither rabbitmq.conf nor overrides/rabbitmq.conf in"), "{error}");
}

#[test]
fn the_storage_root_is_expanded_and_links_are_resolved() {
    let config = OldConfiguration::new();
    let path = config.path();
    fs::create_dir(path.join("real")).expect("made");
    std::os::unix::fs::symlink(path.join("real"), path.join("link")).expect("made");
    let home = ("HOME", path.to_str().expect("text"));
    for (root, expected) in [("~/link/models", "real/models"), ("${HOME}/$SUB/models", "link2/models")] {
        config.write("model-checkpoint.conf", &format!("[storage]\nroot = {root}\n"));
        let settings = loaded(&config, &[home, ("SUB", "link2")]).expect("valid");
        assert_eq!(settings.models_dir(), path.join(expected), "{root}");
        assert_eq!(settings.data_dir(), path.join(expected).join(".htmengine"), "{root}");
    }
}

#[test]
fn models_lie_in_the_storage_root_and_nothing_is_monitored_by_itself() {
    let config = OldConfiguration::new();
    // What the original left there stays as it is.
    config.write("checkpoints/0123456789abcdef0123456789abcdef/definition.data", "old");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let flags = ["--database", "sqlite", "--broker", "memory"];
    let server = Server::start_changed(folder.path(), flags, |serve| {
        serve.env("APPLICATION_CONFIG_PATH", config.path());
    });
    let announcement = server.announcement().join("\n");
    assert!(announcement.contains("monitoring: only metrics named with"), "{announcement}");
    let samples: Vec<Record> =
        series("art_daily_jumpsup").into_iter().map(|(_, record)| record).take(20).collect();
    let repository = server.repository();
    monitor(&repository, "a", Some(ValueRange { min: 0.0, max: 100.0 }));
    send(server.address(), lines("a", &samples).as_bytes());
    wait_for_scores(&repository, "a", samples.len());
    assert!(server.log().contains("option chunk_size"), "warnings are logged: {}", server.log());
    assert!(server.terminate().success(), "a good end");
    let uid = metric(&repository, "a").expect("stored").uid.to_string();
    let file = config.models().join(&uid[..2]).join(format!("{uid}.model"));
    assert!(file.is_file(), "{}", file.display());
    let old = config.models().join("0123456789abcdef0123456789abcdef/definition.data");
    assert_eq!(fs::read_to_string(old).expect("still there"), "old");
}

#[test]
fn verbs_find_the_data_of_the_old_configuration() {
    let config = OldConfiguration::new();
    let data_dir = config.models().join(".htmengine");
    let run = |arguments: &[&str]| {
        let mut command = command(arguments);
        command.env("APPLICATION_CONFIG_PATH", config.path()).env("HTMENGINE_DATABASE", "sqlite");
        command.output().expect("the program can be run")
    };
    fs::create_dir_all(&data_dir).expect("made");
    let made = run(&["monitor", "cpu", "--min", "0", "--max", "1"]);
    assert!(made.status.success(), "{made:?}");
    assert!(data_dir.join("htmengine.sqlite").is_file());
    let listed = run(&["metrics", "--json"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("\"cpu\""), "{listed:?}");
    let status = run(&["status"]);
    let told = String::from_utf8_lossy(&status.stderr).into_owned();
    assert!(told.contains(data_dir.to_str().expect("text")), "{told}");
    assert!(!data_dir.join(STATUS_FILE).exists());
}

#[test]
fn without_the_old_folder_its_variables_are_told_to_have_no_effect() {
    let environment = [("_NTA_UTILS_CONFIG__APPLICATION__REPOSITORY__HOST".to_owned(), "x".to_owned())];
    let settings = Settings::load_in(&ConfigArgs::default(), Said::default(), &Environment::new(environment));
    let settings = settings.expect("valid");
    assert_eq!(settings.repository_choice(), RepositoryChoice::Sqlite);
    assert_eq!(settings.data_dir(), Path::new("htmengine-data"));
    assert_eq!(settings.engine_options().monitor, ["*"]);
    assert!(settings.warnings()[0].contains("names no configuration folder"), "{:?}", settings.warnings());
}

#[test]
fn an_override_that_is_being_written_is_not_read_by_halves() {
    let config = OldConfiguration::new();
    config.write("overrides/application.conf", "");
    let path = config.path().join("overrides/application.conf");
    let mut file = fs::File::options().write(true).open(path).expect("there");
    file.lock().expect("nobody else has it");
    let error = loaded(&config, &[]).expect_err("locked for longer than is waited").to_string();
    assert!(
        error.contains("overrides/application.conf is locked by a program that is writing it"),
        "{error}"
    );
    file.write_all(b"[repository]\ndb = written\n").expect("written");
    file.unlock().expect("held");
    assert_eq!(mysql(&loaded(&config, &[]).expect("valid")).database, "written");
}
