//! Work that blocks, on the executor's own pool of threads.

use super::priority;
use super::waking::Awake;

/// Runs `work` on the blocking pool of this executor and waits for its result.
///
/// A panic inside aborts the process, as everywhere (see `main`): a blocking job that vanished would leave its task
/// waiting for ever.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let _awake = Awake::begin();
    let work = move || {
        priority::be_background_once();
        work()
    };
    glommio::executor().spawn_blocking(work).await
}
