//! Text to tokens.

use crate::error::QueryError;

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TokenKind {
    /// A step, a predicate, a word: letters, digits, `_`; not a digit first.
    Name(String),
    /// What stood between the quotes.
    Text(String),
    /// An integer.
    Int(i64),
    /// A decimal, or an integer beyond 64 bits.
    Float(f64),
    Dot,
    Comma,
    Open,
    Close,
    End,
}

/// A token and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    /// In characters from 1.
    pub(crate) column: usize,
    pub(crate) kind: TokenKind,
}

impl TokenKind {
    /// How errors show it: as the user wrote it, cut where it would drown the message.
    pub(crate) fn show(&self) -> String {
        match self {
            Self::Name(text) | Self::Text(text) if text.chars().count() > 40 => {
                text.chars().take(40).chain(['…']).collect()
            }
            Self::Name(text) | Self::Text(text) => text.clone(),
            Self::Int(int) => int.to_string(),
            Self::Float(float) => float.to_string(),
            Self::Dot => ".".to_owned(),
            Self::Comma => ",".to_owned(),
            Self::Open => "(".to_owned(),
            Self::Close => ")".to_owned(),
            Self::End => "end of query".to_owned(),
        }
    }
}

/// Splits `text` into tokens, the last of which is [`TokenKind::End`]. Never panics.
///
/// A string ends at the quote that opened it and knows no escapes. (Skydive lets either quote end
/// it, which turns `"it's"` into a syntax error.) Numbers may be negative, which Skydive's may not.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, QueryError> {
    let mut lexer = Lexer {
        rest: text.chars().enumerate().peekable(),
    };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next()? {
        tokens.push(token);
    }
    tokens.push(Token {
        column: text.chars().count() + 1,
        kind: TokenKind::End,
    });
    Ok(tokens)
}

struct Lexer<I: Iterator<Item = (usize, char)>> {
    rest: std::iter::Peekable<I>,
}

impl<I: Iterator<Item = (usize, char)>> Lexer<I> {
    fn next(&mut self) -> Result<Option<Token>, QueryError> {
        self.take_while(char::is_whitespace);
        let Some((index, first)) = self.rest.next() else {
            return Ok(None);
        };
        let column = index + 1;
        let kind = match first {
            '.' => TokenKind::Dot,
            ',' => TokenKind::Comma,
            '(' => TokenKind::Open,
            ')' => TokenKind::Close,
            '\'' | '"' => self.text(column, first)?,
            '-' | '0'..='9' => self.number(column, first)?,
            _ if first.is_alphabetic() || first == '_' => {
                let mut name = String::from(first);
                name.push_str(&self.take_while(|c| c.is_alphanumeric() || c == '_'));
                TokenKind::Name(name)
            }
            other => {
                let message =
                    format!("found {other:?}, expected a name, a string, a number or one of . , ( )");
                return Err(QueryError::at(column, message));
            }
        };
        Ok(Some(Token { column, kind }))
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some((_, c)) = self.rest.next_if(|(_, c)| wanted(*c)) {
            taken.push(c);
        }
        taken
    }

    fn text(&mut self, column: usize, quote: char) -> Result<TokenKind, QueryError> {
        let text = self.take_while(|c| c != quote);
        match self.rest.next() {
            Some(_) => Ok(TokenKind::Text(text)),
            None => Err(QueryError::at(
                column,
                format!("the string is not closed, expected {quote}"),
            )),
        }
    }

    fn number(&mut self, column: usize, first: char) -> Result<TokenKind, QueryError> {
        let digits = |c: char| c.is_ascii_digit();
        let mut number = String::from(first);
        number.push_str(&self.take_while(digits));
        // `1.Limit` is no decimal; it cannot be told from one without a second look ahead, and no
        // valid query has a number in front of a dot.
        if self.rest.next_if(|(_, c)| *c == '.').is_some() {
            number.push('.');
            number.push_str(&self.take_while(digits));
        }
        if let Ok(int) = number.parse() {
            return Ok(TokenKind::Int(int));
        }
        match number.parse::<f64>() {
            Ok(float) if float.is_finite() && !number.ends_with('.') => Ok(TokenKind::Float(float)),
            _ => Err(QueryError::at(
                column,
                format!("Expected number token, got: {number}"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind> {
        tokens(text).unwrap().into_iter().map(|t| t.kind).collect()
    }

    #[test]
    fn numbers() {
        let numbers = kinds("7 -7 1.5 -0.25 99999999999999999999");
        let floats = [
            TokenKind::Float(1.5),
            TokenKind::Float(-0.25),
            TokenKind::Float(1e20),
        ];
        assert_eq!(numbers[..2], [TokenKind::Int(7), TokenKind::Int(-7)]);
        assert_eq!(numbers[2..5], floats);
        for wrong in ["-", "1.", "-.", &"9".repeat(400)] {
            assert_eq!(tokens(wrong).unwrap_err().column, Some(1), "{wrong}");
        }
    }

    #[test]
    fn strings_end_at_the_quote_that_opened_them() {
        assert_eq!(
            kinds(r#"'a"b' "c'd" '' "#)[..3],
            [r#"a"b"#, "c'd", ""].map(|t| TokenKind::Text(t.into()))
        );
        let error = tokens(r#"G 'abc""#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "column 3: the string is not closed, expected '"
        );
    }

    #[test]
    fn columns_count_characters() {
        let columns: Vec<usize> = tokens("G\n.é('ü')").unwrap().iter().map(|t| t.column).collect();
        assert_eq!(columns, [1, 3, 4, 5, 6, 9, 10]);
    }
}
