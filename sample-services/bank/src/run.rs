//! `bank run`: open the bank, let the teller pay, show what happens, bring back whoever dies, close.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval, sleep_until};

use crate::{
    arguments::RunArguments,
    bank::Bank,
    layout::Layout,
    output,
    roster::{services, teller},
    screen::{Screen, View, Watch},
    signals::Interrupted,
};

/// How often the screen is drawn and the dead are looked for.
const EVERY: Duration = Duration::from_secs(1);

/// How a run ended that nothing stopped.
enum Ended {
    /// After as long as it was to run.
    InTime,
    /// By Ctrl-C, or because nobody reads any more.
    Interrupted,
}

/// Runs the bank until Ctrl-C, or as long as `--for` says.
///
/// # Errors
/// When the bank can't be opened.
pub(crate) async fn run(
    arguments: &RunArguments,
    interrupted: &mut Interrupted,
) -> anyhow::Result<ExitCode> {
    let mut bank = Bank::new(Layout::create(arguments.data.as_deref())?)?;
    interrupted.dooms(&bank.layout);
    let mut watch = Watch::new();
    let mut screen = Screen::on_standard_output();
    let ended = tokio::select! {
        ended = open_and_watch(&mut bank, arguments, (&mut watch, &mut screen)) => ended.map(|()| Ended::InTime),
        () = interrupted.wait() => Ok(Ended::Interrupted),
    };
    screen.leave();
    if let Err(error) = &ended {
        output::trouble(&format!("bank: {error:#}"));
    }
    output::line("closing the bank");
    bank.close(&output::line).await;
    watch.count(&bank.teller_stats(), Instant::now());
    output::line(watch.summary().trim_end());
    let is_well = match ended {
        Err(_) => false,
        Ok(_) if arguments.duration.is_none() => true,
        Ok(_) if !watch.nothing_failed() => false,
        Ok(Ended::InTime) if !watch.has_paid() => {
            output::trouble("bank: no payment was made in that time: give --for some seconds");
            false
        }
        Ok(_) => true,
    };
    Ok(if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn open_and_watch(
    bank: &mut Bank,
    arguments: &RunArguments,
    (watch, screen): (&mut Watch, &mut Screen),
) -> anyhow::Result<()> {
    output::line(&format!(
        "opening the bank in {}",
        bank.layout.root().display()
    ));
    let tell = output::line;
    bank.open_control_plane(&tell).await?;
    for workload in services() {
        bank.employ(&workload)?;
    }
    bank.all_ready(&tell).await?;
    bank.reset_teller_stats();
    // Every run has customers of its own: those of earlier runs in the same --data may be poor by now.
    let run = format!("run{:x}", std::process::id());
    bank.employ(&teller(arguments.rate).with("TELLER_RUN", run))?;
    bank.ready(&["teller-1"], &tell).await?;
    watch.opened();
    let closing = arguments
        .duration
        .map(|duration| tokio::time::Instant::now() + duration);
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = at(closing) => return Ok(()),
        }
        watch.bring_back(bank)?;
        watch.count(&bank.teller_stats(), Instant::now());
        let view = View::of(bank, watch).await;
        screen.tell(&watch.news());
        if screen.is_due() {
            screen.show(&view);
        }
    }
}

/// At that moment, or never.
async fn at(moment: Option<tokio::time::Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
