mod guests;
fn main() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    match root.canonicalize().map_err(|e| e.to_string()).and_then(|r| guests::build(&r).map_err(|e| e.to_string())) {
        Ok(built) => println!("{built:?}"),
        Err(error) => { eprintln!("{error}"); std::process::exit(1) }
    }
}
