//! Tokens to syntax tree. Recursive descent; depth, length and steps are bounded.

use flowtap_flow::filter::Value;

use super::ast::{Argument, ArgumentValue, PredicateName, Query, Step, StepName, Word};
use super::lexer::{Token, TokenKind, tokens};
use super::names::nearest_step;
use crate::error::QueryError;

/// Bytes of text that are read at all. One byte costs at most one token of 40 bytes.
pub(crate) const MAX_LENGTH: usize = 64 << 10;
/// Steps of one query.
pub(crate) const MAX_STEPS: usize = 256;
/// Predicates inside predicates. The language needs two; the bound keeps the stack small.
pub(crate) const MAX_DEPTH: usize = 8;

/// Parses a query that begins with `G`. Never panics.
pub(crate) fn parse_query(text: &str) -> Result<Query, QueryError> {
    let mut parser = Parser::new(text)?;
    let first = parser.next();
    if !matches!(&first.kind, TokenKind::Name(name) if name.eq_ignore_ascii_case("G")) {
        return Err(QueryError::at(
            first.column,
            format!("found {:?}, expected `G`", first.kind.show()),
        ));
    }
    let mut steps = Vec::new();
    loop {
        let token = parser.next();
        match token.kind {
            TokenKind::End => return Ok(Query { steps }),
            TokenKind::Dot if steps.len() < MAX_STEPS => steps.push(parser.step()?),
            TokenKind::Dot => {
                return Err(QueryError::at(
                    token.column,
                    format!("a query has at most {MAX_STEPS} steps"),
                ));
            }
            other => {
                return Err(QueryError::at(
                    token.column,
                    format!("found {:?}, expected `.`", other.show()),
                ));
            }
        }
    }
}

/// Parses steps joined by dots, without `G` in front; no text is no steps.
pub(crate) fn parse_chain(text: &str) -> Result<Vec<Step>, QueryError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    // The shortest way to one grammar: what follows `G.` is a chain. Columns are moved back.
    parse_query(&format!("G.{text}")).map_or_else(
        |error| {
            Err(QueryError {
                column: error.column.map(|c| c.saturating_sub(2).max(1)),
                ..error
            })
        },
        |query| Ok(query.steps.into_iter().map(|step| step.moved_left(2)).collect()),
    )
}

impl Step {
    fn moved_left(mut self, by: usize) -> Self {
        self.column = self.column.saturating_sub(by);
        self.arguments = self.arguments.into_iter().map(|a| a.moved_left(by)).collect();
        self
    }
}

impl Argument {
    fn moved_left(mut self, by: usize) -> Self {
        self.column = self.column.saturating_sub(by);
        if let ArgumentValue::Predicate(_, arguments) = &mut self.value {
            *arguments = std::mem::take(arguments)
                .into_iter()
                .map(|a| a.moved_left(by))
                .collect();
        }
        self
    }
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    end: Token,
}

impl Parser {
    fn new(text: &str) -> Result<Self, QueryError> {
        if text.len() > MAX_LENGTH {
            let message = format!(
                "a query has at most {MAX_LENGTH} bytes, this one has {}",
                text.len()
            );
            return Err(QueryError::at(1, message));
        }
        let tokens = tokens(text)?;
        let end = tokens.last().cloned().unwrap_or(Token {
            column: 1,
            kind: TokenKind::End,
        });
        Ok(Self {
            tokens: tokens.into_iter().peekable(),
            end,
        })
    }

    fn next(&mut self) -> Token {
        self.tokens.next().unwrap_or_else(|| self.end.clone())
    }

    fn next_is(&mut self, kind: &TokenKind) -> bool {
        self.tokens.next_if(|token| token.kind == *kind).is_some()
    }

    fn step(&mut self) -> Result<Step, QueryError> {
        let token = self.next();
        let name = match &token.kind {
            TokenKind::Name(name) => StepName::parse(name),
            _ => None,
        };
        let Some(name) = name else {
            return Err(unknown_step(&token));
        };
        let column = token.column;
        // `G` alone among the steps needs no parentheses: `G.V().As('a').G.V()`.
        if name == StepName::G && self.tokens.peek().is_none_or(|next| next.kind != TokenKind::Open) {
            return Ok(Step {
                column,
                name,
                arguments: Vec::new(),
            });
        }
        Ok(Step {
            column,
            name,
            arguments: self.arguments(0)?,
        })
    }

    fn arguments(&mut self, depth: usize) -> Result<Vec<Argument>, QueryError> {
        let open = self.next();
        if open.kind != TokenKind::Open {
            let message = format!("Expected left parenthesis, got: {}", open.kind.show());
            return Err(QueryError::at(open.column, message));
        }
        let mut arguments = Vec::new();
        if self.next_is(&TokenKind::Close) {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.argument(depth)?);
            let token = self.next();
            match token.kind {
                TokenKind::Close => return Ok(arguments),
                TokenKind::Comma => {}
                TokenKind::End => {
                    return Err(QueryError::at(token.column, "Expected right parenthesis"));
                }
                other => {
                    let got = other.show();
                    let message = format!("Expected a comma or a right parenthesis, got: {got}");
                    return Err(QueryError::at(token.column, message));
                }
            }
        }
    }

    fn argument(&mut self, depth: usize) -> Result<Argument, QueryError> {
        let token = self.next();
        let column = token.column;
        let value = match token.kind {
            TokenKind::Text(text) => ArgumentValue::Literal(Value::Text(text)),
            TokenKind::Int(int) => ArgumentValue::Literal(Value::Int(int)),
            TokenKind::Float(float) => ArgumentValue::Literal(Value::Float(float)),
            TokenKind::Name(name) => self.named_argument(column, &name, depth)?,
            TokenKind::End => return Err(QueryError::at(column, "Expected right parenthesis")),
            other => return Err(unexpected(column, &other.show())),
        };
        Ok(Argument { column, value })
    }

    fn named_argument(
        &mut self,
        column: usize,
        name: &str,
        depth: usize,
    ) -> Result<ArgumentValue, QueryError> {
        for (word, truth) in [("true", true), ("false", false)] {
            if name.eq_ignore_ascii_case(word) {
                return Ok(ArgumentValue::Literal(Value::Bool(truth)));
            }
        }
        if let Some(word) = Word::parse(name) {
            return Ok(ArgumentValue::Word(word));
        }
        let predicate = PredicateName::parse(name).ok_or_else(|| unexpected(column, name))?;
        if depth == MAX_DEPTH {
            let message = format!("predicates nest at most {MAX_DEPTH} deep");
            return Err(QueryError::at(column, message));
        }
        Ok(ArgumentValue::Predicate(predicate, self.arguments(depth + 1)?))
    }
}

fn unexpected(column: usize, got: &str) -> QueryError {
    let message = format!(
        "Unexpected token while parsing parameters, got: {got}, \
         expected a string, a number, true, false or a predicate such as NE, Regex, Within"
    );
    QueryError::at(column, message)
}

fn unknown_step(token: &Token) -> QueryError {
    let got = token.kind.show();
    let mut message = format!("Expected step function, got: {got}, expected a step such as V, E, Flows, At");
    if let TokenKind::Name(name) = &token.kind
        && let Some(near) = nearest_step(name)
    {
        message.push_str("; did you mean ");
        message.push_str(near);
        message.push('?');
    }
    QueryError::at(token.column, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn literal() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<i64>().prop_map(Value::Int),
            any::<f64>()
                .prop_filter("finite", |f| f.is_finite())
                .prop_map(Value::Float),
            any::<bool>().prop_map(Value::Bool),
            "[^']{0,12}".prop_map(Value::Text),
            "[^\"]{0,12}".prop_map(Value::Text),
        ]
    }

    fn argument() -> impl Strategy<Value = Argument> {
        let leaf = prop_oneof![
            4 => literal().prop_map(ArgumentValue::Literal),
            1 => proptest::sample::select(Word::ALL).prop_map(ArgumentValue::Word),
        ];
        leaf.prop_map(|value| Argument { column: 0, value })
            .prop_recursive(4, 16, 3, |inner| {
                let arguments = proptest::collection::vec(inner, 0..3);
                (proptest::sample::select(PredicateName::ALL), arguments).prop_map(|(name, arguments)| {
                    Argument {
                        column: 0,
                        value: ArgumentValue::Predicate(name, arguments),
                    }
                })
            })
    }

    fn query() -> impl Strategy<Value = Query> {
        let step = (
            proptest::sample::select(StepName::ALL),
            proptest::collection::vec(argument(), 0..4),
        )
            .prop_map(|(name, arguments)| {
                let arguments = if name == StepName::G {
                    Vec::new()
                } else {
                    arguments
                };
                Step {
                    column: 0,
                    name,
                    arguments,
                }
            });
        proptest::collection::vec(step, 0..6).prop_map(|steps| Query { steps })
    }

    fn without_columns(mut query: Query) -> Query {
        fn clear(arguments: &mut [Argument]) {
            for argument in arguments {
                argument.column = 0;
                if let ArgumentValue::Predicate(_, inner) = &mut argument.value {
                    clear(inner);
                }
            }
        }
        for step in &mut query.steps {
            step.column = 0;
            clear(&mut step.arguments);
        }
        query
    }

    proptest! {
        #[test]
        fn what_is_displayed_parses_to_the_same(query in query()) {
            let text = query.to_string();
            let parsed = parse_query(&text).map_err(|e| TestCaseError::fail(format!("{text}: {e}")))?;
            prop_assert_eq!(without_columns(parsed), query);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,64}") {
            let _ = parse_query(&text);
            let _ = parse_chain(&text);
        }

        #[test]
        fn no_near_query_panics(text in "(G|\\.|\\(|\\)|,|'|\"|V|flows|has|NE|Within|-?[0-9]{1,20}|\\.5| |At|é){0,24}") {
            let error = parse_query(&text).err();
            let columns = 1..=text.chars().count() + 1;
            prop_assert!(error.is_none_or(|e| e.column.is_some_and(|c| columns.contains(&c))));
        }
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let long = format!("G.V('{}')", "x".repeat(MAX_LENGTH));
        assert_eq!(parse_query(&long).unwrap_err().column, Some(1));
        let many = format!("G{}", ".V()".repeat(MAX_STEPS + 1));
        assert_eq!(
            parse_query(&many).unwrap_err().message,
            "a query has at most 256 steps"
        );
        let deep = format!("G.Has({}", "NE(".repeat(20_000));
        assert_eq!(
            parse_query(&deep).unwrap_err().message,
            "predicates nest at most 8 deep"
        );
    }

    #[test]
    fn a_chain_has_its_own_columns() {
        let steps = parse_chain("Has('A', NE(1)).HasEither('B', 2)").unwrap();
        assert_eq!(steps.iter().map(|s| s.column).collect::<Vec<_>>(), [1, 17]);
        assert_eq!(steps[0].arguments[1].column, 10);
        assert_eq!(parse_chain("Has('A', Foo)").unwrap_err().column, Some(10));
        assert_eq!(parse_chain("  ").unwrap(), []);
    }
}
