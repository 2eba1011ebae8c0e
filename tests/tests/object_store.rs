//! The chunk store as an `ObjectStore`: the suite of the crate `object_store` for whoever implements it, and what
//! only this store promises, against the daemons of a dev cluster.

use std::time::Duration;

use chunkstore_client::{ChunkObjectStore, ChunkStore, CreateOptions};
use chunkstore_protocol::{CONCAT_PARTS_MAX, ChunkId, FileKind, StorePath};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::multipart::MultipartStore as _;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, ObjectStore as _, ObjectStoreExt as _, PutMode, PutPayload,
    RenameOptions, RenameTargetMode, integration,
};
use tests::cluster::PATIENCE;
use tests::{Dev, DevOptions};

/// Chunks of one megabyte: the suite's parts have several.
fn cluster() -> Dev {
    Dev::start(&DevOptions::trackers(2).set("chunkmaster.chunk_bytes=1MiB"))
}

fn path(text: &str) -> StorePath {
    text.parse().expect("a path")
}

/// Runs `test` with a store of its own, within the time that every state must come.
fn run<F: Future<Output = ()>>(test: impl FnOnce(ChunkStore) -> F, dev: &Dev) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, test(dev.store())).await.expect("it ends in time");
    });
}

fn objects(store: &ChunkStore, root: &str) -> ChunkObjectStore {
    ChunkObjectStore::new(store.clone(), path(root))
}

/// The names in a folder, as the chunk store lists them.
async fn names(store: &ChunkStore, folder: &str) -> Vec<String> {
    let entries = store.list_all(&path(folder), 10_000).await.expect("a folder");
    entries.iter().map(|entry| entry.path.name().unwrap_or_default().to_owned()).collect()
}

#[test]
fn the_suite_of_the_crate_passes() {
    let dev = cluster();
    run(
        |store| async move {
            let objects = objects(&store, "/suite");
            integration::put_get_delete_list(&objects).await;
            integration::list_with_offset_exclusivity(&objects).await;
            integration::get_opts(&objects).await;
            integration::put_opts(&objects, true).await;
            integration::list_uses_directories_correctly(&objects).await;
            integration::list_with_delimiter(&objects).await;
            let missing = integration::get_nonexistent_object(&objects, None).await;
            assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
            integration::rename_and_copy(&objects).await;
            integration::copy_if_not_exists(&objects).await;
            integration::copy_rename_nonexistent_object(&objects).await;
            integration::put_get_attributes(&objects).await;
        },
        &dev,
    );
}

/// The suite's `multipart_with_opts` asks for attributes to be kept, and its `list_paginated` is of another trait: the one is
/// refused alike by all ways to put, the other does not exist here.
async fn refuses_attributes(objects: &ChunkObjectStore) {
    let location = Path::from("with_attributes");
    let attributes = || Attributes::from_iter([(Attribute::ContentType, "text/plain")]);
    let refused = [
        objects.put_opts(&location, "x".into(), attributes().into()).await.map(drop),
        objects.put_multipart_opts(&location, attributes().into()).await.map(drop),
        objects.create_multipart_opts(&location, attributes().into()).await.map(drop),
    ];
    for refused in refused {
        assert!(matches!(refused, Err(Error::NotImplemented { .. })), "{refused:?}");
        assert!(refused.expect_err("it has attributes").to_string().contains("attributes"));
    }
    assert!(matches!(objects.head(&location).await, Err(Error::NotFound { .. })));
}

#[test]
fn the_suites_multipart_uploads_pass_and_leave_nothing_behind() {
    let dev = cluster();
    run(
        |store| async move {
            let objects = objects(&store, "/suite");
            integration::stream_get(&objects).await;
            integration::multipart(&objects, &objects).await;
            integration::multipart_put_part_out_of_order(&objects, &objects).await;
            integration::multipart_race_condition(&objects, true).await;
            integration::multipart_out_of_order(&objects).await;
            refuses_attributes(&objects).await;
            for folder in ["/suite", "/suite/test_dir"] {
                let left = names(&store, folder).await;
                assert!(left.iter().all(|name| !name.starts_with(".upload-")), "{left:?}");
            }
        },
        &dev,
    );
}

/// The locations of all objects, sorted.
async fn listed(objects: &ChunkObjectStore) -> Vec<String> {
    let all = objects.list(None).map_ok(|object| object.location.to_string());
    let mut all: Vec<_> = all.try_collect().await.expect("a listing");
    all.sort();
    all
}

async fn chunks(store: &ChunkStore, file: &str) -> Vec<ChunkId> {
    let located = store.locate(&path(file), 0, None).await.expect("a file");
    located.chunks.iter().map(|location| location.chunk).collect()
}

async fn text(objects: &ChunkObjectStore, location: &str) -> String {
    let got = objects.get(&Path::from(location)).await.expect("an object");
    let bytes = got.bytes().await.expect("its bytes");
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[test]
fn renames_copies_and_uploads_keep_the_chunks_that_were_written() {
    let dev = cluster();
    run(
        |store| async move {
            let objects = objects(&store, "/o");
            let (a, b) = (Path::from("in/a"), Path::from("out/b"));
            objects.put(&a, PutPayload::from(vec![7; 3 << 20])).await.unwrap();
            let written = chunks(&store, "/o/in/a").await;
            assert_eq!(written.len(), 3);
            let tag = objects.head(&a).await.unwrap().e_tag;
            objects.copy(&a, &Path::from("copies/a")).await.unwrap();
            assert_eq!(chunks(&store, "/o/copies/a").await, written);
            objects.rename(&a, &b).await.unwrap();
            assert_eq!(chunks(&store, "/o/out/b").await, written);
            assert_eq!(objects.head(&b).await.unwrap().e_tag, tag, "the same object");
            let create = RenameOptions::new().with_target_mode(RenameTargetMode::Create);
            let taken = objects.rename_opts(&b, &Path::from("copies/a"), create).await;
            assert!(matches!(taken, Err(Error::AlreadyExists { .. })), "{taken:?}");
            // What looks like a folder is no object, and stays where it is.
            let folder = objects.rename(&Path::from("out"), &Path::from("elsewhere")).await;
            assert!(matches!(folder, Err(Error::NotFound { .. })), "{folder:?}");
            let folder = objects.delete(&Path::from("in")).await;
            assert!(matches!(folder, Err(Error::NotFound { .. })), "{folder:?}");
            assert_eq!(listed(&objects).await, ["copies/a", "out/b"]);
            let level = objects.list_with_delimiter(None).await.unwrap();
            let folders: Vec<_> = level.common_prefixes.iter().map(ToString::to_string).collect();
            assert_eq!(folders, ["copies", "out"], "the empty folder is not shown");
        },
        &dev,
    );
}

#[test]
fn an_upload_of_more_parts_than_one_step_takes_keeps_their_order() {
    let dev = cluster();
    run(
        |store| async move {
            let objects = objects(&store, "/o");
            let location = Path::from("many/parts");
            let id = objects.create_multipart(&location).await.unwrap();
            let numbers = 0..=CONCAT_PARTS_MAX;
            let put = |n: usize| {
                let (objects, location, id) = (objects.clone(), location.clone(), id.clone());
                async move { objects.put_part(&location, &id, n, format!("{n},").into()).await }
            };
            let parts: Vec<_> =
                stream::iter(numbers.clone()).map(put).buffered(16).try_collect().await.unwrap();
            assert_eq!(listed(&objects).await, Vec::<String>::new());
            let done = objects.complete_multipart(&location, &id, parts).await.unwrap();
            assert_eq!(objects.head(&location).await.unwrap().e_tag, done.e_tag);
            let expected: String = numbers.map(|n| format!("{n},")).collect();
            assert_eq!(text(&objects, "many/parts").await, expected);
            assert_eq!(names(&store, "/o/many").await, ["parts"]);
        },
        &dev,
    );
}

#[test]
fn an_upload_whose_program_is_gone_is_hidden_and_can_be_aborted_by_its_id() {
    let dev = cluster();
    let cluster = &dev;
    run(
        |store| async move {
            let objects = objects(&store, "/o");
            let location = Path::from("d/x");
            let id = objects.create_multipart(&location).await.unwrap();
            for n in 0..3 {
                objects.put_part(&location, &id, n, "part".into()).await.unwrap();
            }
            let left = names(&store, "/o/d").await;
            assert_eq!(left.len(), 3, "{left:?}");
            assert_eq!(listed(&objects).await, Vec::<String>::new());
            let hidden = objects.get(&Path::from(format!("d/{}", left[0]))).await;
            assert!(hidden.is_err(), "what is under way is no object");
            let another = ChunkObjectStore::new(cluster.store(), path("/o"));
            another.abort_multipart(&location, &id).await.unwrap();
            assert_eq!(names(&store, "/o/d").await, Vec::<String>::new());
            let mut upload = objects.put_multipart(&location).await.unwrap();
            let part = upload.put_part("never".into());
            assert!(upload.complete().await.is_err(), "a part is missing");
            drop(part);
            upload.abort().await.unwrap();
            assert_eq!(names(&store, "/o/d").await, Vec::<String>::new());
        },
        &dev,
    );
}

#[test]
fn what_an_abandoned_upload_left_goes_when_it_is_old_with_the_next_upload_to_its_folder() {
    let dev = cluster();
    run(
        |store| async move {
            let objects = objects(&store, "/o");
            let upload = async |objects: &ChunkObjectStore, name: &str| {
                let mut upload = objects.put_multipart(&Path::from(name)).await.unwrap();
                upload.put_part("whole".into()).await.unwrap();
                upload.complete().await.unwrap();
            };
            for folder in ["d", "e"] {
                let location = Path::from(format!("{folder}/never"));
                let id = objects.create_multipart(&location).await.unwrap();
                for n in 0..2 {
                    objects.put_part(&location, &id, n, "part".into()).await.unwrap();
                }
            }
            upload(&objects, "d/one").await;
            assert_eq!(names(&store, "/o/d").await.len(), 3, "it may yet be completed");
            let hasty = objects.clone().abandoning_uploads_after(Duration::ZERO);
            upload(&hasty, "d/two").await;
            assert_eq!(names(&store, "/o/d").await, ["one", "two"]);
            assert_eq!(names(&store, "/o/e").await.len(), 2, "another folder's");
            assert_eq!(listed(&objects).await, ["d/one", "d/two"]);
        },
        &dev,
    );
}

#[test]
fn files_under_way_are_no_objects_and_an_append_makes_another_tag() {
    let dev = cluster();
    run(
        |store| async move {
            let objects = objects(&store, "/o");
            let options = CreateOptions { parents: true, ..CreateOptions::default() };
            let open = store.create(&path("/o/open"), options).await.unwrap();
            let location = Path::from("log");
            let put = objects.put(&location, "one ".into()).await.unwrap();
            let mut append = store.append(&path("/o/log")).await.unwrap();
            append.write("two".into()).await.unwrap();
            assert_eq!(listed(&objects).await, ["log"], "one was never closed, the other one was");
            let never = objects.head(&Path::from("open")).await;
            assert!(matches!(never, Err(Error::NotFound { .. })), "{never:?}");
            assert_eq!(text(&objects, "log").await, "one ");
            append.close().await.unwrap();
            open.abandon().await.unwrap();
            assert_eq!(text(&objects, "log").await, "one two");
            let update = PutMode::Update(put.into());
            let stale = objects.put_opts(&location, "three".into(), update.into()).await;
            assert!(matches!(stale, Err(Error::Precondition { .. })), "{stale:?}");
            let below = objects.put(&Path::from("log/below"), "x".into()).await.unwrap_err();
            assert!(below.to_string().contains("/o/log"), "{below}");
            let status = store.stat(&path("/o/log")).await.unwrap();
            assert!(matches!(status.kind, FileKind::File { length: 7, .. }), "{status:?}");
            assert_eq!(names(&store, "/o").await, ["log"]);
        },
        &dev,
    );
}
