//! Opens a service's SQLite file: write-ahead log, migrations, one writer and several readers.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{
    SqlSafeStr as _, SqlitePool,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
};

use crate::settings::DatabaseUrl;

/// A service's migrations, each as its number, what it is about, and its SQL.
///
/// Not sqlx's own macro: that compiles SQLite, sqlx and tokio a second time, for the compiler's use, which is a tenth
/// of the first build. A file that is named nowhere is found by the tidy test.
pub fn migrations(files: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migrations = files.iter().map(|&(number, about, sql)| {
        Migration::new(
            number,
            about.into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(migrations.collect())
}

/// How long a statement waits for another process that writes to the same file.
///
/// Longer than any batch takes, shorter than callers wait for us.
const BUSY_LIMIT: Duration = Duration::from_secs(5);

/// What a commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A power cut (`synchronous=FULL`): for services that write money.
    PowerCut,
    /// The death of the process (`synchronous=NORMAL`): for what can be delivered or computed again.
    ProcessDeath,
}

/// The database can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// A file or its folder can't be made, locked or opened.
    #[error("the database file {path} is not usable")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// SQLite can't open it.
    #[error("the database {path} can't be opened")]
    Open {
        /// Which file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: sqlx::Error,
    },
    /// The schema can't be brought to what this program needs.
    #[error("the schema of {path} can't be migrated")]
    Migrate {
        /// Which file.
        path: PathBuf,
        /// Which migration failed, and how.
        #[source]
        source: MigrateError,
    },
}

/// An open database with the schema this program needs.
#[derive(Debug, Clone)]
pub struct Database {
    /// For SELECTs: they never wait for the writer.
    pub readers: SqlitePool,
    /// One connection, so that this process never waits for its own lock; see [`crate::group_commit`].
    pub writer: SqlitePool,
}

impl Database {
    /// Opens the file, making it and its folder if need be, and migrates it.
    ///
    /// Several processes may do so at once: an advisory lock beside the file makes them migrate in turn.
    ///
    /// # Errors
    /// When the file is not usable, or a migration fails or is unknown to this program.
    pub async fn open(
        url: &DatabaseUrl,
        durability: Durability,
        migrations: &Migrator,
    ) -> Result<Self, DatabaseError> {
        let path = url.path();
        let lock = lock(path.to_owned()).await?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(match durability {
                Durability::PowerCut => SqliteSynchronous::Full,
                Durability::ProcessDeath => SqliteSynchronous::Normal,
            })
            .foreign_keys(true)
            .busy_timeout(BUSY_LIMIT);
        let writer = pool(1, options.clone(), path).await?;
        migrations
            .run(&writer)
            .await
            .map_err(|source| DatabaseError::Migrate {
                path: path.to_owned(),
                source,
            })?;
        let readers = pool(4, options.pragma("query_only", "ON"), path).await?;
        drop(lock);
        Ok(Self { readers, writer })
    }

    /// Closes all connections; the last process to do so folds the write-ahead log into the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

async fn pool(
    connections: u32,
    options: SqliteConnectOptions,
    path: &Path,
) -> Result<SqlitePool, DatabaseError> {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(BUSY_LIMIT)
        .connect_with(options)
        .await
        .map_err(|source| DatabaseError::Open {
            path: path.to_owned(),
            source,
        })
}

/// Held until the returned file is dropped.
async fn lock(database: PathBuf) -> Result<File, DatabaseError> {
    let path = database.with_added_extension("lock");
    let shown = path.clone();
    let locked = tokio::task::spawn_blocking(move || {
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            std::fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)?;
        file.lock()?;
        Ok(file)
    });
    let locked = locked
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)));
    locked.map_err(|source| DatabaseError::File {
        path: shown,
        source,
    })
}
