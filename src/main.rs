//! The command-line tool.

fn main() -> rag_query::Exit {
    rag_query::main()
}
