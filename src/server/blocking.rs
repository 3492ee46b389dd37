//! Work that blocks, on the executor's own pool of threads.

use std::cell::Cell;

use super::priority;
use super::waking::Awake;

thread_local! {
    /// Jobs of this thread's executor whose results have not come back.
    static JOBS: Cell<usize> = const { Cell::new(0) };
}

/// Runs `work` on the blocking pool of this executor and waits for its result.
///
/// A panic inside aborts the process, as everywhere (see `main`): a blocking job that vanished would leave its task
/// waiting for ever. So would a pool thread that finds nobody to hand its result to: the wait is a task of its own,
/// which goes on when the caller is dropped, and an executor must not end before [`any_under_way`] says so.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let _awake = Awake::begin();
    let work = move || {
        priority::be_background_once();
        work()
    };
    JOBS.set(JOBS.get() + 1);
    let result = glommio::spawn_local(async move {
        let result = glommio::executor().spawn_blocking(work).await;
        JOBS.set(JOBS.get() - 1);
        result
    });
    let result = result.detach().await;
    result.expect("invariant: nobody cancels a detached task")
}

/// True while the pool works for this thread's executor.
pub fn any_under_way() -> bool {
    JOBS.get() > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_job_whose_caller_is_gone_is_still_counted() {
        let executor = glommio::LocalExecutorBuilder::default()
            .blocking_thread_pool_placement(glommio::PoolPlacement::Unbound(1))
            .spawn(|| async {
                let job = || std::thread::sleep(Duration::from_millis(50));
                let caller = glommio::spawn_local(run(job));
                glommio::timer::sleep(Duration::from_millis(5)).await;
                assert!(any_under_way());
                caller.cancel().await;
                assert!(any_under_way());
                while any_under_way() {
                    glommio::timer::sleep(Duration::from_millis(1)).await;
                }
                assert_eq!(run(|| 7).await, 7);
            });
        assert!(executor.is_ok_and(|executor| executor.join().is_ok()));
    }
}
