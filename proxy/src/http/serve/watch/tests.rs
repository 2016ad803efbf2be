//! How long a connection may do nothing.

use tokio::time::Instant;

use super::*;

async fn ends_after(watch: &Watch, idle: Idle) -> Duration {
    let begun = Instant::now();
    assert_eq!(watch.watch(idle).await, Bound::Idle);
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn strangers_may_idle_for_a_minute_and_the_mesh_for_an_hour() {
    let silent = Watch::default();
    let first = ends_after(&silent, Idle::OUTSIDE).await;
    assert_eq!(first, Idle::OUTSIDE.first);
    let hour = ends_after(&silent, Idle::MESH).await;
    assert_eq!(hour, Idle::MESH.first);
    let used = Rc::new(Watch::default());
    drop(InFlight::begin(&used));
    let next = ends_after(&used, Idle::OUTSIDE).await;
    let most = Idle::OUTSIDE.between + LOOK_EVERY;
    assert!(next >= Idle::OUTSIDE.between && next <= most, "{next:?}");
}
