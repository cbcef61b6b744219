//! `cargo run --release -p slimbase-sim -- --ops N [--seed S] [--files N]`: one long run, and mutated files; prints the seed.

use slimbase_sim::{fuzz, world::World};

/// Operations of one world; the next seed follows.
const OPERATIONS_PER_WORLD: u64 = 1_000_000;

fn argument(name: &str, fallback: u64) -> Result<u64, String> {
    let mut arguments = std::env::args().skip_while(|each| each != name).skip(1);
    if !std::env::args().any(|each| each == name) {
        return Ok(fallback);
    }
    let value = arguments.next().ok_or(format!("{name} needs a number"))?;
    value.parse().map_err(|_| format!("{name} needs a number, value=`{value}`"))
}

fn run() -> Result<(), String> {
    let (operations, first) = (argument("--ops", 200_000)?, argument("--seed", 1)?);
    let files = argument("--files", operations / 100)?;
    let mut left = operations;
    let mut seed = first;
    while left > 0 {
        let now = left.min(OPERATIONS_PER_WORLD);
        println!("seed={seed} operations={now}");
        let mut world = World::new(seed).map_err(|error| error.to_string())?;
        world.run(now).map_err(|error| format!("{error}, seed={seed}"))?;
        println!("{:?}", world.report);
        left -= now;
        seed += 1;
    }
    println!("fuzz seed={first} files={files}");
    println!("{:?}", fuzz::run(first, files));
    Ok(())
}

fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
