//! Baseline JPEG (ITU-T T.81): a file from VA-API's tables and the scan as it is.

use super::slice_bytes;
use crate::buffer::{Submitted, optional_parameters, parameters};
use crate::va::*;

/// The JPEG file of a picture.
pub(super) fn file(submitted: &[Submitted]) -> Result<Vec<u8>> {
    let picture: VAPictureParameterBufferJPEGBaseline = parameters(submitted, VAPictureParameterBufferType)?;
    let slice: VASliceParameterBufferJPEGBaseline = parameters(submitted, VASliceParameterBufferType)?;
    let data = submitted.iter().find(|buffer| buffer.kind == VASliceDataBufferType).ok_or(Status::INVALID_PARAMETER)?;
    let scan = slice_bytes(&data.bytes, slice.slice_data_offset, slice.slice_data_size)?;
    let mut file = vec![0xff, 0xd8];
    if let Some(tables) = optional_parameters(submitted, VAIQMatrixBufferType) {
        write_quantization(&mut file, &picture, &tables);
    }
    write_frame(&mut file, &picture)?;
    if let Some(tables) = optional_parameters(submitted, VAHuffmanTableBufferType) {
        write_huffman(&mut file, &tables);
    }
    if slice.restart_interval != 0 {
        write_segment(&mut file, 0xdd, &slice.restart_interval.to_be_bytes());
    }
    write_scan(&mut file, &slice)?;
    file.extend_from_slice(scan);
    file.extend_from_slice(&[0xff, 0xd9]);
    Ok(file)
}

fn write_segment(file: &mut Vec<u8>, marker: u8, payload: &[u8]) {
    file.extend_from_slice(&[0xff, marker]);
    file.extend_from_slice(&(payload.len() as u16 + 2).to_be_bytes());
    file.extend_from_slice(payload);
}

fn write_quantization(
    file: &mut Vec<u8>,
    picture: &VAPictureParameterBufferJPEGBaseline,
    tables: &VAIQMatrixBufferJPEGBaseline,
) {
    for (number, table) in (0_u8..).zip(&tables.quantiser_table) {
        let is_used = picture.components[..usize::from(picture.num_components).min(picture.components.len())]
            .iter()
            .any(|component| component.quantiser_table_selector == number);
        if is_used && tables.load_quantiser_table[usize::from(number)] != 0 {
            write_segment(file, 0xdb, &[&[number], table.as_slice()].concat());
        }
    }
}

fn write_frame(file: &mut Vec<u8>, picture: &VAPictureParameterBufferJPEGBaseline) -> Result<()> {
    let components = picture.components.get(..usize::from(picture.num_components)).ok_or(Status::INVALID_PARAMETER)?;
    let mut frame = vec![8];
    frame.extend_from_slice(&picture.picture_height.to_be_bytes());
    frame.extend_from_slice(&picture.picture_width.to_be_bytes());
    frame.push(picture.num_components);
    for component in components {
        let factors = component.h_sampling_factor << 4 | component.v_sampling_factor & 0xf;
        frame.extend_from_slice(&[component.component_id, factors, component.quantiser_table_selector]);
    }
    write_segment(file, 0xc0, &frame);
    Ok(())
}

fn write_huffman(file: &mut Vec<u8>, tables: &VAHuffmanTableBufferJPEGBaseline) {
    const AC: u8 = 0x10;
    for (number, table) in (0_u8..).zip(&tables.huffman_table) {
        if tables.load_huffman_table[usize::from(number)] == 0 {
            continue;
        }
        for (class, counts, values) in [
            (0, &table.num_dc_codes, table.dc_values.as_slice()),
            (AC, &table.num_ac_codes, table.ac_values.as_slice()),
        ] {
            let used = counts.iter().map(|count| usize::from(*count)).sum::<usize>().min(values.len());
            if used > 0 {
                write_segment(file, 0xc4, &[&[class | number], counts.as_slice(), &values[..used]].concat());
            }
        }
    }
}

fn write_scan(file: &mut Vec<u8>, slice: &VASliceParameterBufferJPEGBaseline) -> Result<()> {
    let count = slice.num_components;
    let components = slice.components.get(..usize::from(count)).ok_or(Status::INVALID_PARAMETER)?;
    let mut scan = vec![count];
    for component in components {
        let tables = component.dc_table_selector << 4 | component.ac_table_selector & 0xf;
        scan.extend_from_slice(&[component.component_selector, tables]);
    }
    scan.extend_from_slice(&[0, 63, 0]);
    write_segment(file, 0xda, &scan);
    Ok(())
}
