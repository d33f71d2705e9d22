use super::*;

/// The answer and the reasoning of a text that comes in pieces of `size` characters.
fn split(text: &str, size: usize) -> (String, String) {
    let (mut answer, mut thinking) = (String::new(), String::new());
    let mut splitter = Splitter::new(false);
    let mut take = |part: Part| match part {
        Part::Text(text) => answer.push_str(text),
        Part::Thinking(text) => thinking.push_str(text),
        Part::Retracted => thinking.push_str(&std::mem::take(&mut answer)),
    };
    let letters: Vec<char> = text.chars().collect();
    for piece in letters.chunks(size) {
        splitter.push(&piece.iter().collect::<String>(), &mut take);
    }
    splitter.finish(&mut take);
    (answer, thinking)
}

#[track_caller]
fn is_split(text: &str, answer: &str) {
    for size in [1, 2, 3, 7, 1000] {
        let (found, thinking) = split(text, size);
        assert_eq!(found.trim(), answer, "{text:?} in pieces of {size}; reasoning: {thinking:?}");
        assert!(!thinking.contains(['<', '◁']), "{thinking:?}");
    }
}

const ANSWER: &str = "The flag is red [1].\n\n- Its star is white [2].";

#[test]
fn reasoning_between_marks_is_no_answer() {
    for (before, after) in [
        ("<think>\nI look at [2].\n</think>\n\n", ""),
        ("\n<THINK>hm</THINK>", "\n"),
        ("<thinking>a</thinking> ", ""),
        ("<thought>a [2]</thought>", ""),
        ("<reasoning>a\n\nb</reasoning>\n", ""),
        ("<seed:think>a</seed:think>", ""),
        ("◁think▷ I look at [2]. ◁/think▷", ""),
        ("[THINK]a[/THINK]", ""),
        ("<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>", ""),
        ("<|begin_of_thought|>a<|end_of_thought|>\n\n<|begin_of_solution|>\n", ""),
        ("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>", ""),
        ("<|channel|>final<|message|>", ""),
        ("<think></think>\n<think>again</think>", ""),
        ("<think>a</thinking>", ""),
        ("Here is my thought process:\na\n\nHere is my response:\n", ""),
        ("<think>a</think><answer>", ""),
    ] {
        is_split(&format!("{before}{ANSWER}{after}"), ANSWER);
    }
    is_split("A [1].\n<think>\nhm [2]\n</think>\nB [1].", "A [1].\nB [1].");
}

#[test]
fn reasoning_without_an_opening_mark_is_no_answer() {
    for before in [
        "The user asks about the flag, let me look at [2].\n</think>\n\n",
        "Okay, so I need [2].</think>",
        "Được rồi, người dùng hỏi về [2].\n</think>\n",
        "Something that nobody expects [2].\n</thinking>\n",
        "</think>\n\n",
        "hm [/THINK]",
        "analysisWe look at [2].assistantfinal",
    ] {
        is_split(&format!("{before}{ANSWER}"), ANSWER);
    }
}

#[test]
fn reasoning_without_an_end_leaves_no_answer() {
    for text in ["<think>\nThe user asks about [2]", "◁think▷ hm", "The user asks.\n</think>\n"]
    {
        is_split(text, "");
    }
}

#[test]
fn a_good_answer_is_never_changed() {
    for text in [
        ANSWER,
        "Okay, the flag is red [1].",
        "The user guide says: red [1].",
        "Models reason between <think> and </think> [1].",
        "The mark `</think>` ends it [1], and \"</think>\" in quotation marks too.",
        "Example:\n\n```\n<think>\nhm\n</think>\n```\n\nThat is all [1].",
        "1 < 2, a[i] and <b>bold</b>; [thin] ice <thi",
        "<analysis of variance> is what [1] is about",
        "Use `<thinking>` [2].",
        "<",
        "[1] says that it is red.",
    ] {
        for size in [1, 2, 5, 1000] {
            assert_eq!(split(text, size), (text.to_owned(), String::new()), "{size}");
        }
    }
}

#[test]
fn what_is_no_reasoning_is_passed_on_at_once() {
    let mut shown = String::new();
    let mut splitter = Splitter::new(false);
    for piece in ["Tok", "ens are [", "1] units, a < b"] {
        splitter.push(piece, &mut |part| match part {
            Part::Text(text) => shown.push_str(text),
            _ => panic!("{part:?}"),
        });
    }
    assert_eq!(shown, "Tokens are [1] units, a < b");
}

#[test]
fn a_model_that_leaves_the_opening_mark_out_is_held_back_and_remembered() {
    for name in ["deepseek-r1:8b", "DeepSeek-R1-Distill-Llama-8B", "Qwen3-4B-Thinking-2507", "qwq"]
    {
        assert!(is_reasoning_model(name), "{name}");
    }
    for name in ["llama3.1", "qwen3:8b", "gr1d", "thinker"] {
        assert!(!is_reasoning_model(name), "{name}");
    }
    let mut parts = Vec::new();
    let mut splitter = Splitter::new(true);
    splitter.push("Red, I think.", &mut |part| parts.push(format!("{part:?}")));
    assert!(parts.is_empty());
    splitter.push("</think>Red.", &mut |part| parts.push(format!("{part:?}")));
    splitter.finish(&mut |part| parts.push(format!("{part:?}")));
    assert_eq!(parts, ["Thinking(\"Red, I think.\")", "Text(\"Red.\")"]);
    assert!(splitter.has_thought() && splitter.lacks_opening());
}
