//! The figures of docs/benchmarks.md, measured in one run: `make bench`. Sizes by BENCH_HOSTS, BENCH_ROUNDS,
//! BENCH_MANY, BENCH_LOCAL, BENCH_PORTAINER and BENCH_COMPANIONS.

#![allow(clippy::disallowed_methods, reason = "a benchmark starts programs and reads /proc")]

#[path = "../../tests/support/mod.rs"]
mod support;

mod cluster;
mod companion;
mod local;
mod portainer;
mod server;
mod steady;
mod table;

use table::Table;

fn main() -> anyhow::Result<()> {
    let installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    installed.expect("nobody installed a provider before");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure())
}

async fn measure() -> anyhow::Result<()> {
    let mut table = Table::default();
    match size("BENCH_LOCAL", 1000) {
        0 => table.note("BENCH_LOCAL=0: (e) is left out"),
        hosts => local::up_against_openssl(&mut table, hosts)?,
    }
    match size("BENCH_PORTAINER", 1000) {
        0 => table.note("BENCH_PORTAINER=0: (h) is left out"),
        hosts => portainer::registering(&mut table, hosts).await?,
    }
    if size("BENCH_HOSTS", 2000) == 0 && size("BENCH_COMPANIONS", 1000) == 0 {
        table.note("BENCH_HOSTS=0, BENCH_COMPANIONS=0: (a) to (d), (f) and (g) are left out");
        table.print();
        return Ok(());
    }
    let server = server::Server::start().await?;
    if size("BENCH_COMPANIONS", 1000) > 0 {
        companion::one(&server, &mut table, 20).await?;
        companion::many(&server, &mut table, size("BENCH_COMPANIONS", 1000)).await?;
    }
    if size("BENCH_HOSTS", 2000) == 0 {
        table.note("BENCH_HOSTS=0: (a) to (d) are left out");
        table.print();
        return Ok(());
    }
    cluster::issuing(&server, &mut table, size("BENCH_HOSTS", 2000), size("BENCH_ROUNDS", 5)).await?;
    steady::day(&server, &mut table, size("BENCH_HOSTS", 2000)).await?;
    cluster::memory(&server, &mut table, size("BENCH_MANY", 10_000)).await?;
    table.print();
    Ok(())
}

fn size(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
