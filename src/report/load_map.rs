//! The load by weekday and hour, as a map of cells.

use super::chart::{Scene, WIDTHS};
use super::figures::{Scope, WeekdayLoad};
use super::language::Language;
use super::scale;

/// Messages received by weekday and hour. On a phone the hours are rows.
pub(super) fn load(scope: &Scope, language: Language) -> Vec<Scene> {
    WIDTHS.iter().map(|(class, width)| load_at(&scope.load, language, class, *width)).collect()
}

fn load_at(load: &[WeekdayLoad], language: Language, class: &'static str, width: f64) -> Scene {
    let words = language.words();
    let most = load
        .iter()
        .flat_map(|weekday| weekday.messages_received_mean.iter().flatten())
        .copied()
        .fold(0.0, f64::max);
    let is_upright = class == "narrow";
    let (left, top) = if is_upright { (46.0, 22.0) } else { (62.0, 20.0) };
    let (columns, rows) = if is_upright { (7.0, 24.0) } else { (24.0, 7.0) };
    let (cell_width, cell_height) =
        ((width - left) / columns, if is_upright { 21.0 } else { 31.0 });
    let mut scene = Scene::new(class, width, top + rows * cell_height + 2.0);
    for (place, weekday) in load.iter().enumerate() {
        let name = words.weekdays.get(place).copied().unwrap_or_default();
        let along = place as f64;
        match is_upright {
            true => scene.text("column", (left + (along + 0.5) * cell_width, top - 8.0), name),
            false => {
                scene.text("tick", (left - 10.0, top + (along + 0.5) * cell_height + 4.0), name)
            }
        }
        for hour in 0..24 {
            let across = f64::from(hour);
            let (x, y) = if is_upright { (along, across) } else { (across, along) };
            let (x, y) = (left + x * cell_width, top + y * cell_height);
            let value = weekday
                .messages_received_mean
                .as_ref()
                .and_then(|hours| hours.get(hour as usize))
                .copied();
            let class = value.map_or_else(
                || "gap".to_owned(),
                |value| format!("cell l{}", scale::level(value, most)),
            );
            scene.rect(class, (x + 1.0, y + 1.0), (cell_width - 2.0, cell_height - 2.0));
            let shown = value
                .map_or_else(|| words.nothing_there.to_owned(), |value| language.number(value));
            if let Some(value) = value.filter(|value| *value > 0.0) {
                let class =
                    if scale::level(value, most) >= 4 { "in-cell strong" } else { "in-cell" };
                scene.text(
                    class,
                    (x + cell_width / 2.0, y + cell_height / 2.0 + 4.0),
                    language.rounded(value),
                );
            }
            scene.hover(
                format!("{name} {hour:02}:00–{:02}:00 · {shown}", hour + 1),
                (x, y),
                (cell_width, cell_height),
            );
        }
    }
    for hour in 0..24 {
        let place = f64::from(hour);
        match is_upright {
            true => scene.text(
                "tick",
                (left - 8.0, top + (place + 0.5) * cell_height + 4.0),
                format!("{hour:02}"),
            ),
            false => scene.text(
                "column",
                (left + (place + 0.5) * cell_width, top - 7.0),
                format!("{hour:02}"),
            ),
        }
    }
    scene
}
