//! `addf`, `subf`, `mulf`, `divf`: arithmetic on the decimal digits of floats, so that 0.1 + 0.2 is 0.3.

use super::arguments::{Outcome, fail};
use super::math::to_float;
use crate::function::{Function, FunctionError, Functions};
use crate::value::{Type, Value};

/// Digits after the point to which a division is carried.
const DIVISION_DIGITS: i32 = 16;

/// Adds the functions of this file.
pub(super) fn register(all: &mut Functions) {
    all.insert(
        "add1f",
        Function::new([Type::Any], |_, arguments| fold(to_float(&arguments[0]), &[Value::int(1)], Operation::Add)),
    );
    all.insert(
        "addf",
        Function::variadic([], Type::Any, |_, arguments| fold(0.0, arguments, Operation::Add)).returning(Type::FLOAT64),
    );
    for (name, operation) in [("subf", Operation::Subtract), ("mulf", Operation::Multiply), ("divf", Operation::Divide)]
    {
        all.insert(
            name,
            Function::variadic([Type::Any], Type::Any, move |_, arguments| {
                fold(to_float(&arguments[0]), &arguments[1..], operation)
            }),
        );
    }
}

#[derive(Clone, Copy)]
enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// `digits * 10^exponent`.
#[derive(Clone, Copy)]
struct Decimal {
    digits: i128,
    exponent: i32,
}

fn fold(first: f64, rest: &[Value], operation: Operation) -> Outcome {
    let mut result = Decimal::of(first)?;
    for value in rest {
        let number = Decimal::of(to_float(value))?;
        if matches!(operation, Operation::Divide) && number.digits == 0 {
            return fail("decimal division by 0");
        }
        // Digits beyond those that fit are beyond a float's precision too: then the floats themselves are taken.
        result = match result.apply(number, operation) {
            Some(exact) => exact,
            None => Decimal::of(result.apply_to_floats(number, operation))?,
        };
    }
    Ok(Value::float(result.to_float()))
}

impl Decimal {
    /// The shortest decimal that reads back as this float.
    fn of(number: f64) -> Result<Decimal, FunctionError> {
        if !number.is_finite() {
            let name = if number.is_nan() {
                "NaN"
            } else if number > 0.0 {
                "+Inf"
            } else {
                "-Inf"
            };
            return fail(format!("Cannot create a Decimal from {name}"));
        }
        let printed = format!("{number:e}");
        let (mantissa, exponent) = printed.split_once('e').unwrap_or((&printed, "0"));
        let decimals = mantissa.split_once('.').map_or(0, |(_, decimals)| decimals.len() as i32);
        let digits = mantissa.replace('.', "").parse().unwrap_or(0);
        Ok(Decimal { digits, exponent: exponent.parse().unwrap_or(0) - decimals })
    }

    fn to_float(self) -> f64 {
        format!("{}e{}", self.digits, self.exponent).parse().unwrap_or(0.0)
    }

    fn apply(self, other: Decimal, operation: Operation) -> Option<Decimal> {
        let exponent = self.exponent.min(other.exponent);
        match operation {
            Operation::Add => {
                let digits = self.scaled(exponent)?.checked_add(other.scaled(exponent)?)?;
                Some(Decimal { digits, exponent })
            }
            Operation::Subtract => {
                let digits = self.scaled(exponent)?.checked_sub(other.scaled(exponent)?)?;
                Some(Decimal { digits, exponent })
            }
            Operation::Multiply => {
                let digits = self.digits.checked_mul(other.digits)?;
                Some(Decimal { digits, exponent: self.exponent + other.exponent })
            }
            Operation::Divide => self.divide(other),
        }
    }

    /// The quotient to sixteen digits after the point, half away from zero.
    fn divide(self, other: Decimal) -> Option<Decimal> {
        let shift = self.exponent - other.exponent + DIVISION_DIGITS;
        let power = 10i128.checked_pow(shift.unsigned_abs())?;
        let (dividend, divisor) = if shift >= 0 {
            (self.digits.checked_mul(power)?, other.digits)
        } else {
            (self.digits, other.digits.checked_mul(power)?)
        };
        let (quotient, remainder) = (dividend / divisor, dividend % divisor);
        let away = if (dividend < 0) == (divisor < 0) { 1 } else { -1 };
        let rounds = remainder.unsigned_abs().checked_mul(2)? >= divisor.unsigned_abs();
        Some(Decimal { digits: if rounds { quotient + away } else { quotient }, exponent: -DIVISION_DIGITS })
    }

    fn apply_to_floats(self, other: Decimal, operation: Operation) -> f64 {
        let (one, two) = (self.to_float(), other.to_float());
        match operation {
            Operation::Add => one + two,
            Operation::Subtract => one - two,
            Operation::Multiply => one * two,
            Operation::Divide => one / two,
        }
    }

    fn scaled(self, exponent: i32) -> Option<i128> {
        self.digits.checked_mul(10i128.checked_pow((self.exponent - exponent).unsigned_abs())?)
    }
}
