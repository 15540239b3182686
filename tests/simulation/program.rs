//! The command line of the simulation, the same for the example and the test.

use super::{batch, folder, history, kept, run_apart, run_here, seed_base, usage};
use std::{path::PathBuf, process::ExitCode, time::Instant};

/// What was asked for.
#[derive(Default)]
struct Asked {
    seeds: Option<u64>,
    from: Option<u64>,
    seed: Option<u64>,
    plant: Option<String>,
    here: Option<PathBuf>,
    verbose: bool,
}

fn asked() -> Result<Asked, String> {
    let (mut asked, mut words) = (Asked::default(), std::env::args().skip(1));
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        let number = |text: String| text.parse().map_err(|_| format!("{text:?} is no number"));
        match word.as_str() {
            "--seeds" => asked.seeds = Some(number(value()?)?),
            "--from" => asked.from = Some(number(value()?)?),
            "--seed" => asked.seed = Some(number(value()?)?),
            "--plant" => asked.plant = Some(value()?),
            "--here" => asked.here = Some(value()?.into()),
            "--verbose" => asked.verbose = true,
            // What the test runner of cargo is given beside means nothing here.
            _ => {}
        }
    }
    Ok(asked)
}

/// Does what the command line asks for; without a number of seeds it runs the kept ones and `fresh` new ones.
pub fn program(fresh: u64) -> ExitCode {
    match asked().and_then(|asked| act(&asked, fresh)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            println!("{why}");
            ExitCode::from(2)
        }
    }
}

fn act(asked: &Asked, fresh: u64) -> Result<bool, String> {
    history::prove().map_err(|why| format!("the judge does not see what it should: {why}"))?;
    if let Some(seed) = asked.seed {
        return one(asked, seed);
    }
    let from = asked.from.unwrap_or_else(seed_base);
    let mut seeds: Vec<u64> = match asked.seeds {
        Some(_) => Vec::new(),
        None => kept().map_err(|error| error.to_string())?,
    };
    let count = asked.seeds.unwrap_or(fresh);
    println!("{} kept seeds, and {count} from {from} on", seeds.len());
    seeds.extend((0..count).map(|n| from.wrapping_add(n)));
    many(asked, &seeds)
}

/// One seed, in this process.
fn one(asked: &Asked, seed: u64) -> Result<bool, String> {
    if let Some(plant) = &asked.plant
        && !rollcall_cluster::planted::plant(plant)
    {
        return Err(format!("{plant} cannot be planted: unknown, or not built in (feature planted-faults)"));
    }
    let own = folder().map_err(|error| error.to_string())?;
    let root = asked.here.as_deref().unwrap_or(own.path());
    let report = run_here(seed, root, asked.verbose).map_err(|error| error.to_string())?;
    for (check, why) in &report.wrong {
        println!("{check}: {why}");
    }
    println!("{}", report.line);
    Ok(report.wrong.is_empty())
}

/// What a planted fault is, by which checks it may be caught, and within how many seeds it must be.
const PLANTED: [(&str, &[&str], u64); 4] = [
    ("no-sync-data", &["starts-again", "acknowledged-is-kept"], 100),
    ("no-term-fence", &["one-home"], 100),
    ("lease-reads-while-paused", &["linearizable"], 100),
    ("version-reset-at-takeover", &["versions-rise"], 100),
];

/// The test: the kept seeds, `fresh` new ones, one seed twice, and the planted faults where they are built in. What it prints at the end is
/// what cargo's own tests print.
pub fn test(fresh: u64) -> ExitCode {
    const NAMES: [&str; 3] = [
        "kept_and_fresh_seeds_break_no_promise",
        "a_seed_gives_the_same_run_in_another_process",
        "every_planted_fault_is_caught",
    ];
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word.starts_with("--seed")) {
        return program(fresh);
    }
    let filters: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    // Without the feature there is nothing to catch.
    let there = if rollcall_cluster::planted::IS_BUILT_IN { NAMES.len() } else { NAMES.len() - 1 };
    let named = NAMES.into_iter().take(there).filter(|name| wanted(name));
    if words.iter().any(|word| word == "--list") {
        named.for_each(|name| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let (mut passed, mut failed) = (0, 0);
    for name in named {
        let done = match name {
            "kept_and_fresh_seeds_break_no_promise" => act(&Asked::default(), fresh),
            "a_seed_gives_the_same_run_in_another_process" => twice(seed_base()),
            _ => PLANTED.iter().try_fold(true, |all, planted| Ok(caught(planted)? && all)),
        };
        let is_well = done.unwrap_or_else(|why| {
            println!("{why}");
            false
        });
        println!("test {name} ... {}", if is_well { "ok" } else { "FAILED" });
        if is_well { passed += 1 } else { failed += 1 }
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {verdict}. {passed} passed; {failed} failed; 0 ignored");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether a seed gives the same run in two processes.
fn twice(seed: u64) -> Result<bool, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let run = || run_apart(&program, seed, None).map_err(|error| error.to_string());
    let (first, second) = (run()?, run()?);
    if first != second {
        println!("seed {seed} gave two runs:\n{}\n{}", first.1, second.1);
    }
    Ok(first == second)
}

/// Whether a fault is caught by a check that is there for it.
fn caught((plant, checks, seeds_max): &(&str, &[&str], u64)) -> Result<bool, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let seeds: Vec<u64> = (1..=*seeds_max).collect();
    let done = batch(&program, &seeds, Some(plant), 1).map_err(|error| error.to_string())?;
    let Some((seed, said)) = done.failed.iter().min_by_key(|(seed, _)| *seed) else {
        println!("{plant}: not caught by {seeds_max} seeds");
        return Ok(false);
    };
    let found = checks.iter().find(|check| said.lines().any(|line| line.starts_with(&format!("{check}: "))));
    println!("{plant}: caught by {found:?} after {seed} seeds");
    Ok(found.is_some())
}

fn many(asked: &Asked, seeds: &[u64]) -> Result<bool, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let plant = asked.plant.as_deref();
    let began = Instant::now();
    // A planted fault is found once; without one, a few failures say enough.
    let enough = if plant.is_some() { 1 } else { 5 };
    let done = batch(&program, seeds, plant, enough).map_err(|error| error.to_string())?;
    for (seed, said) in &done.failed {
        println!("seed {seed} failed:\n{said}\nreplay: {}", usage(*seed, plant));
    }
    let (run, failed, took) = (done.run, done.failed.len(), began.elapsed().as_secs_f64());
    println!("{run} seeds, {failed} failed, {took:.1} s, {:.2} s a seed", took / run.max(1) as f64);
    println!("sums: {:?}, healed within {} ms at worst", done.sums, done.worst_healed_ms);
    Ok(done.failed.is_empty())
}
