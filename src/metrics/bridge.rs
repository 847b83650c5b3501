//! Arrow arrays to polars and back, without copying.
//!
//! polars has its own implementation of Arrow. Both speak the Arrow C data interface
//! (<https://arrow.apache.org/docs/format/CDataInterface.html>), two structs of a fixed C layout, so an array passes from one to the
//! other as a pair of such structs, and with it the duty to free it. But for one line in `threads`, the only unsafe code of kefu is in this
//! module.
#![allow(unsafe_code)]

use arrow::array::{Array, ArrayRef, make_array};
use arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi, to_ffi};
use polars::prelude::{Column, CompatLevel, PlSmallStr, Series};
use polars_arrow::ffi as polars_ffi;

use super::MetricsError;

/// A polars series over the memory of an Arrow array.
pub(super) fn to_series(name: &str, array: &dyn Array) -> Result<Series, MetricsError> {
    let (array, schema) = to_ffi(&array.to_data())?;
    // SAFETY: both types are `#[repr(C)]` and have exactly the fields of the C data interface. `transmute` moves the struct, so that
    // it is released once, by polars.
    let (array, schema) = unsafe {
        (
            std::mem::transmute::<FFI_ArrowArray, polars_ffi::ArrowArray>(array),
            std::mem::transmute::<FFI_ArrowSchema, polars_ffi::ArrowSchema>(schema),
        )
    };
    // SAFETY: arrow-rs filled both structs, for the same array.
    let array = unsafe {
        let field = polars_ffi::import_field_from_c(&schema)?;
        polars_ffi::import_array_from_c(array, field.dtype)?
    };
    Ok(Series::from_arrow(PlSmallStr::from_str(name), array)?)
}

/// An Arrow array over the memory of a polars column.
pub(super) fn to_array(column: &Column) -> Result<ArrayRef, MetricsError> {
    let series = column.as_materialized_series().rechunk();
    // The oldest layout, without string views: what every reader of the interface understands.
    let array = series.to_arrow(0, CompatLevel::oldest());
    let field = series.field().to_arrow(CompatLevel::oldest());
    let schema = polars_ffi::export_field_to_c(&field);
    let array = polars_ffi::export_array_to_c(array);
    // SAFETY: as above, in the other direction.
    let (array, schema) = unsafe {
        (
            std::mem::transmute::<polars_ffi::ArrowArray, FFI_ArrowArray>(array),
            std::mem::transmute::<polars_ffi::ArrowSchema, FFI_ArrowSchema>(schema),
        )
    };
    // SAFETY: polars filled both structs, for the same array.
    let data = unsafe { from_ffi(array, &schema)? };
    Ok(make_array(data))
}
