//! What the operating system and the runtime know of this process.

use metrics_process::collector;
use tokio::runtime::Handle;

use super::figures::Figures;
use crate::telemetry::catalogue::{
    PROCESS_CPU, PROCESS_MAX_FDS, PROCESS_OPEN_FDS, PROCESS_RESIDENT, PROCESS_START, PROCESS_THREADS, PROCESS_VIRTUAL,
    TOKIO_ALIVE_TASKS, TOKIO_BUSY, TOKIO_GLOBAL_QUEUE, TOKIO_PARKS, TOKIO_WORKERS,
};

/// Reads all of it; what the system does not tell is left out.
pub fn read(figures: &mut Figures) {
    let process = collector::collect();
    if let Some(seconds) = process.cpu_seconds_total {
        figures.one(&PROCESS_CPU, seconds);
    }
    let sizes = [
        (PROCESS_RESIDENT, process.resident_memory_bytes),
        (PROCESS_VIRTUAL, process.virtual_memory_bytes),
        (PROCESS_OPEN_FDS, process.open_fds),
        (PROCESS_MAX_FDS, process.max_fds),
        (PROCESS_START, process.start_time_seconds),
        (PROCESS_THREADS, process.threads),
    ];
    for (metric, value) in sizes {
        if let Some(value) = value {
            figures.one(&metric, value as f64);
        }
    }

    let runtime = Handle::current().metrics();
    let workers = 0..runtime.num_workers();
    figures.one(&TOKIO_WORKERS, workers.len() as f64);
    figures.one(&TOKIO_ALIVE_TASKS, runtime.num_alive_tasks() as f64);
    figures.one(&TOKIO_GLOBAL_QUEUE, runtime.global_queue_depth() as f64);
    let busy = workers.clone().map(|worker| runtime.worker_total_busy_duration(worker).as_secs_f64());
    figures.one(&TOKIO_BUSY, busy.sum());
    let parks = workers.map(|worker| runtime.worker_park_count(worker));
    figures.one(&TOKIO_PARKS, parks.sum::<u64>() as f64);
}
