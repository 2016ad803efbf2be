//! One task writes: it drains a queue and commits many operations in one transaction.
//!
//! A durable commit costs a disk flush, about a millisecond, however much it holds. One writer that
//! commits whatever has queued up meanwhile turns a thousand flushes per second into thousands of
//! operations, and an operation is acknowledged only after the flush that holds it. Transactions
//! begin IMMEDIATE: a lock that is taken at the start can't fail half-way, also when a second
//! process writes to the same file.

#[cfg(test)]
mod tests;

use std::future::Future;

use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::{error, warn};

use crate::database::Database;

/// Operations that may wait; more are refused, so that waiting callers are bounded.
const QUEUE_MAX: usize = 1024;

/// Operations in one transaction: bounds how long the first of them waits for the others.
const BATCH_MAX: usize = 128;

/// A change of the database, and what it leads to.
///
/// Applied again from the start when the transaction it was part of had to be rolled back, so it
/// must have no effect but through the connection. A refusal (no funds) is an outcome, not an error.
pub trait Operation: Send + Sync + 'static {
    /// What the caller learns after the commit.
    type Outcome: Send + 'static;

    /// Does the work inside an open transaction.
    fn apply(
        &self,
        connection: &mut SqliteConnection,
    ) -> impl Future<Output = sqlx::Result<Self::Outcome>> + Send;
}

/// An operation was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The queue is full; nothing was written.
    #[error("{QUEUE_MAX} operations are waiting already")]
    Overloaded,
    /// The database refused the operation or its commit; it may or may not be stored.
    #[error("the database did not confirm the operation")]
    Unconfirmed(#[source] sqlx::Error),
    /// The writer has ended.
    #[error("the writer has stopped")]
    Stopped,
}

impl From<WriteError> for crate::problem::Problem {
    fn from(error: WriteError) -> Self {
        error!(
            error = &error as &dyn std::error::Error,
            "an operation was not written"
        );
        Self::unavailable("the operation could not be stored")
    }
}

impl From<WriteError> for tonic::Status {
    fn from(error: WriteError) -> Self {
        error!(
            error = &error as &dyn std::error::Error,
            "an operation was not written"
        );
        Self::unavailable("the operation could not be stored")
    }
}

struct Job<O: Operation> {
    operation: O,
    reply: oneshot::Sender<Result<O::Outcome, WriteError>>,
}

/// Hands operations to the writing task; cheap to clone. The task ends when all clones are gone.
#[derive(Debug)]
pub struct Writer<O: Operation> {
    queue: mpsc::Sender<Job<O>>,
}

impl<O: Operation> Clone for Writer<O> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
        }
    }
}

impl<O: Operation> Writer<O> {
    /// Starts the writing task. Wait for its handle after dropping the writers: then all is written.
    #[must_use]
    pub fn start(database: &Database) -> (Self, JoinHandle<()>) {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        (
            Self { queue },
            tokio::spawn(write(jobs, database.writer.clone())),
        )
    }

    /// Returns when the operation is committed.
    ///
    /// # Errors
    /// When it was refused or not confirmed; see [`WriteError`].
    pub async fn submit(&self, operation: O) -> Result<O::Outcome, WriteError> {
        let (reply, outcome) = oneshot::channel();
        self.queue
            .try_send(Job { operation, reply })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => WriteError::Overloaded,
                mpsc::error::TrySendError::Closed(_) => WriteError::Stopped,
            })?;
        outcome.await.unwrap_or(Err(WriteError::Stopped))
    }
}

async fn write<O: Operation>(mut jobs: mpsc::Receiver<Job<O>>, pool: SqlitePool) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while jobs.recv_many(&mut batch, BATCH_MAX).await > 0 {
        match commit(&pool, &batch).await {
            Ok(outcomes) => {
                for (job, outcome) in batch.drain(..).zip(outcomes) {
                    // The caller may have gone; the operation is done all the same.
                    let _gone = job.reply.send(Ok(outcome));
                }
            }
            Err(error) if batch.len() > 1 => {
                warn!(%error, operations = batch.len(), "a batch failed, writing one by one");
                for job in batch.drain(..) {
                    write_alone(&pool, job).await;
                }
            }
            Err(error) => {
                for job in batch.drain(..) {
                    let error = sqlx::Error::Protocol(error.to_string());
                    let _gone = job.reply.send(Err(WriteError::Unconfirmed(error)));
                }
            }
        }
    }
}

async fn write_alone<O: Operation>(pool: &SqlitePool, job: Job<O>) {
    let outcome = commit(pool, std::slice::from_ref(&job)).await;
    let outcome = outcome.and_then(|mut done| done.pop().ok_or(sqlx::Error::RowNotFound));
    let _gone = job.reply.send(outcome.map_err(WriteError::Unconfirmed));
}

async fn commit<O: Operation>(
    pool: &SqlitePool,
    batch: &[Job<O>],
) -> sqlx::Result<Vec<O::Outcome>> {
    let mut transaction: Transaction<'_, Sqlite> = pool.begin_with("BEGIN IMMEDIATE").await?;
    let mut outcomes = Vec::with_capacity(batch.len());
    for job in batch {
        // Dropping the transaction on the way out rolls all of it back.
        outcomes.push(job.operation.apply(&mut transaction).await?);
    }
    transaction.commit().await?;
    Ok(outcomes)
}
