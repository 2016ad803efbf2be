//! Pages beyond the bound are read again, hence were not kept.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use redb::{
    ReadableDatabase as _, ReadableTable as _, StorageBackend, TableDefinition,
    backends::InMemoryBackend,
};

use super::*;

const TABLE: TableDefinition<'static, u32, &[u8]> = TableDefinition::new("values");

/// A file that counts the bytes read from it.
#[derive(Debug, Default)]
struct File {
    content: InMemoryBackend,
    read: Arc<AtomicUsize>,
}

impl StorageBackend for File {
    fn len(&self) -> io::Result<u64> {
        self.content.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read.fetch_add(out.len(), Relaxed);
        self.content.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.content.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.content.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.content.write(offset, data)
    }
}

#[test]
fn what_was_written_does_not_stay_in_memory() {
    const REVISIONS: u32 = 1_024;
    const BYTES: usize = 4_096;
    let file = File::default();
    let read = file.read.clone();
    let database = builder().create_with_backend(file).expect("made");
    for number in 0..REVISIONS {
        let transaction = database.begin_write().expect("one writer");
        let mut table = transaction.open_table(TABLE).expect("a table");
        table.insert(number, &[7; BYTES][..]).expect("room");
        drop(table);
        transaction.commit().expect("written");
    }
    read.store(0, Relaxed);
    let transaction = database.begin_read().expect("readable");
    let table = transaction.open_table(TABLE).expect("there");
    let bytes: usize = table
        .iter()
        .expect("readable")
        .map(|entry| entry.expect("readable").1.value().len())
        .sum();
    let all = usize::try_from(REVISIONS).expect("few") * BYTES;
    assert_eq!(bytes, all);
    let kept = bytes.saturating_sub(read.load(Relaxed));
    assert!(kept <= 2 * CACHE_BYTES, "{kept} of {bytes} bytes were kept");
}
