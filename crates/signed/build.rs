//! Generates the protobuf types of what is signed and of the link offer, in pure Rust: no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let names = ["signed.proto", "link.proto"];
    names.iter().for_each(|name| println!("cargo::rerun-if-changed=../../proto/{name}"));
    let files = protox::compile(names, ["../../proto"])?;
    prost_build::Config::new().compile_fds(files)?;
    Ok(())
}
