//! The command line of the simulation, the same for the example and the test.

use super::{batch, history, kept, run_here, seed_base, usage};
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
    let own = super::folder().map_err(|error| error.to_string())?;
    let root = asked.here.as_deref().unwrap_or(own.path());
    let report = run_here(seed, root, asked.verbose).map_err(|error| error.to_string())?;
    for (check, why) in &report.wrong {
        println!("{check}: {why}");
    }
    println!("{}", report.line);
    Ok(report.wrong.is_empty())
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
