//! The command-line tool.

fn main() -> rag_query::cli::Exit {
    rag_query::cli::main()
}
