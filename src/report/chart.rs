//! The charts as shapes, which the page draws as SVG. Each chart has a version for a screen, for a
//! sheet of paper and for a phone. A scaled chart would have letters that are too small to read.
//!
//! A missing day is hatched, and no line crosses it. A day that is not final yet is hatched in
//! another colour, behind its values.

use std::fmt;

use super::figures::{DayFigures, Scope, Totals};
use super::language::Language;
use super::scale::{self, Axis};
use super::words::Words;

/// Widths for a screen, for a sheet of paper or a tablet, and for a phone.
pub(super) const WIDTHS: [(&str, f64); 3] =
    [("wide", 1_040.0), ("middle", 680.0), ("narrow", 344.0)];

/// Largest number of days for which each day gets a mark on the line. More marks would touch.
const MARKED_DAYS: usize = 70;

/// A position or a length. It is rounded to a tenth of a pixel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Px(f64);

impl fmt::Display for Px {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Adding 0.0 removes the sign of a negative zero.
        write!(f, "{}", (self.0 * 10.0).round() / 10.0 + 0.0)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Rect {
    pub x: Px,
    pub y: Px,
    pub width: Px,
    pub height: Px,
    pub class: String,
    /// The tooltip. Empty for none.
    pub title: String,
}

impl Rect {
    fn new(class: impl Into<String>, (x, y): (f64, f64), (width, height): (f64, f64)) -> Self {
        let (x, y, width, height) = (Px(x), Px(y), Px(width), Px(height));
        Self { x, y, width, height, class: class.into(), title: String::new() }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Path {
    pub d: String,
    pub class: &'static str,
}

#[derive(Clone, Debug)]
pub(super) struct Text {
    pub x: Px,
    pub y: Px,
    pub class: &'static str,
    pub text: String,
}

/// A drawing. Its shapes are drawn kind by kind, in the order of the fields.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    /// The page width for which it is drawn.
    pub class: &'static str,
    pub width: Px,
    pub height: Px,
    /// Drawn behind everything else.
    pub backdrop: Vec<Rect>,
    pub grid: Vec<Path>,
    pub rects: Vec<Rect>,
    pub paths: Vec<Path>,
    pub texts: Vec<Text>,
    /// Areas with a tooltip, above everything else.
    pub hovers: Vec<Rect>,
}

impl Scene {
    pub(super) fn new(class: &'static str, width: f64, height: f64) -> Self {
        let (backdrop, grid, rects) = (Vec::new(), Vec::new(), Vec::new());
        let (paths, texts, hovers) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            class,
            width: Px(width),
            height: Px(height),
            backdrop,
            grid,
            rects,
            paths,
            texts,
            hovers,
        }
    }

    pub(super) fn rect(
        &mut self,
        class: impl Into<String>,
        position: (f64, f64),
        size: (f64, f64),
    ) {
        self.rects.push(Rect::new(class, position, size));
    }

    /// Adds a tooltip. A phone has no pointer that could rest on it.
    pub(super) fn hover(&mut self, title: String, position: (f64, f64), size: (f64, f64)) {
        if self.class == "narrow" {
            return;
        }
        self.hovers.push(Rect { title, ..Rect::new("hover", position, size) });
    }

    fn backdrop(&mut self, class: &str, position: (f64, f64), size: (f64, f64)) {
        self.backdrop.push(Rect::new(class, position, size));
    }

    /// Adds a horizontal line of the grid.
    fn rule(&mut self, (left, right): (f64, f64), y: f64) {
        self.grid.push(Path { d: format!("M{} {}H{}", Px(left), Px(y), Px(right)), class: "grid" });
    }

    pub(super) fn text(
        &mut self,
        class: &'static str,
        (x, y): (f64, f64),
        text: impl Into<String>,
    ) {
        self.texts.push(Text { x: Px(x), y: Px(y), class, text: text.into() });
    }
}

/// The horizontal positions of the days.
struct Band {
    left: f64,
    width: f64,
    day: f64,
}

impl Band {
    fn of(days: usize, left: f64, width: f64) -> Self {
        let right = width - 8.0;
        Self { left, width: right - left, day: (right - left) / days.max(1) as f64 }
    }

    fn start(&self, place: usize) -> f64 {
        self.left + place as f64 * self.day
    }

    fn middle(&self, place: usize) -> f64 {
        self.start(place) + self.day / 2.0
    }

    fn right(&self) -> f64 {
        self.left + self.width
    }

    /// Shades weekends, missing days and days that are not final, between two heights.
    fn draw_days(&self, scene: &mut Scene, scope: &Scope, (top, bottom): (f64, f64)) {
        for (place, day) in scope.days.iter().enumerate() {
            let is_weekend = day.date.weekday().number_days_from_monday() >= 5;
            let class = match day.accounts {
                0 => "gap",
                _ if is_weekend && scope.days.len() <= MARKED_DAYS => "weekend",
                _ => "",
            };
            if !class.is_empty() {
                scene.backdrop(class, (self.start(place), top), (self.day, bottom - top));
            }
            if day.is_provisional() {
                scene.backdrop("provisional", (self.start(place), top), (self.day, bottom - top));
            }
            // Only some of the accounts have this day.
            if (1..scope.accounts).contains(&day.accounts) {
                scene.backdrop("gap", (self.start(place), bottom - 8.0), (self.day, 8.0));
            }
        }
    }

    /// Labels days with their dates below the chart. Adds weekdays if every day is labelled.
    fn label_days(&self, scene: &mut Scene, days: &[DayFigures], words: &Words, y: f64) {
        let every = scale::label_every(self.day, 42.0);
        // A label for each week is placed at its Monday.
        let is_labelled = |place: usize| match days.get(place) {
            Some(day) if every >= 7 => {
                let monday = days
                    .iter()
                    .position(|day| day.date.weekday().number_days_from_monday() == 0)
                    .unwrap_or(0);
                place >= monday
                    && (place - monday).is_multiple_of(every)
                    && day.date.weekday() == time::Weekday::Monday
            }
            _ => place.is_multiple_of(every),
        };
        for (place, day) in days.iter().enumerate().filter(|(place, _)| is_labelled(*place)) {
            let date = day.date.to_string();
            scene.text("date", (self.middle(place), y), date.get(5..).unwrap_or_default());
            if every == 1 {
                let weekday =
                    words.weekdays.get(usize::from(day.date.weekday().number_days_from_monday()));
                scene.text(
                    "weekday",
                    (self.middle(place), y + 15.0),
                    weekday.copied().unwrap_or_default(),
                );
            }
        }
    }

    /// Draws a line through the values of the days, with a mark at each value.
    fn draw_line(
        &self,
        scene: &mut Scene,
        class: (&'static str, &'static str),
        places: &[Option<f64>],
    ) {
        let mut line = String::new();
        let mut is_open = false;
        for (place, y) in places.iter().enumerate() {
            match y {
                Some(y) => {
                    line.push_str(&format!(
                        "{}{} {}",
                        if is_open { "L" } else { "M" },
                        Px(self.middle(place)),
                        Px(*y)
                    ));
                    is_open = true;
                }
                None => is_open = false,
            }
        }
        scene.paths.push(Path { d: line, class: class.0 });
        let is_alone = |place: usize| {
            let is_there = |place: Option<usize>| {
                place.and_then(|place| places.get(place)).is_some_and(Option::is_some)
            };
            !is_there(place.checked_sub(1)) && !is_there(place.checked_add(1))
        };
        for (place, y) in places.iter().enumerate().filter_map(|(place, y)| Some((place, (*y)?))) {
            if places.len() <= MARKED_DAYS || is_alone(place) {
                scene.paths.push(Path { d: mark(class.1, self.middle(place), y), class: class.1 });
            }
        }
    }
}

/// A circle for the median, a diamond for the 90th percentile. Colour alone must not tell them
/// apart.
fn mark(class: &str, x: f64, y: f64) -> String {
    if class == "mark slow-mark" {
        format!("M{} {}l4.5 4.5l-4.5 4.5l-4.5 -4.5z", Px(x), Px(y - 4.5))
    } else {
        format!("M{} {}a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z", Px(x - 3.5), Px(y))
    }
}

/// The CSS class of a bar. A bar of a day that is not final lets the hatching show through.
fn bar_class(class: &str, day: Option<&DayFigures>) -> String {
    match day.is_some_and(DayFigures::is_provisional) {
        true => format!("{class} is-provisional"),
        false => class.to_owned(),
    }
}

/// The waits of each day, and below them the service level of the same days.
pub(super) fn response_times(scope: &Scope, target: Option<f64>, language: Language) -> Vec<Scene> {
    WIDTHS
        .iter()
        .map(|(class, width)| response_times_at((scope, target), language, class, *width))
        .collect()
}

fn response_times_at(
    (scope, target): (&Scope, Option<f64>),
    language: Language,
    class: &'static str,
    width: f64,
) -> Scene {
    let words = language.words();
    let (top, middle) = (14.0, 214.0);
    let (second_top, second_bottom) = (258.0, 328.0);
    let mut scene = Scene::new(class, width, second_bottom + 42.0);
    let band = Band::of(scope.days.len(), 62.0, width);
    band.draw_days(&mut scene, scope, (top, middle));
    band.draw_days(&mut scene, scope, (second_top, second_bottom));

    let each = |value: fn(&Totals) -> Option<f64>| {
        scope.days.iter().map(move |day| day.totals.as_ref().and_then(value))
    };
    let (p50, p90) = (each(|day| day.response_seconds_p50), each(|day| day.response_seconds_p90));
    let ticks = scale::wait_ticks(p50.clone().chain(p90.clone()).flatten());
    let ends = (ticks.first().copied().unwrap_or(1.0), ticks.last().copied().unwrap_or(1.0));
    let axis = Axis::logarithmic(ends, (middle, top));
    for tick in &ticks {
        scene.rule((band.left, band.right()), axis.at(*tick));
        scene.text("tick", (band.left - 8.0, axis.at(*tick) + 4.0), language.duration(*tick));
    }
    let places = |values: Vec<Option<f64>>| {
        values.into_iter().map(|value| value.map(|value| axis.at(value))).collect::<Vec<_>>()
    };
    band.draw_line(&mut scene, ("line slow", "mark slow-mark"), &places(p90.collect()));
    band.draw_line(&mut scene, ("line typical", "mark typical-mark"), &places(p50.collect()));

    let axis = Axis::linear((0.0, 1.0), (second_bottom, second_top));
    for tick in [0.0, 0.5, 1.0] {
        scene.rule((band.left, band.right()), axis.at(tick));
        scene.text("tick", (band.left - 8.0, axis.at(tick) + 4.0), format!("{}%", 100.0 * tick));
    }
    scene.text("panel", (band.left, second_top - 14.0), words.service_level_by_day);
    for (place, level) in
        each(|day| day.service_level).enumerate().filter_map(|(place, level)| Some((place, level?)))
    {
        let bar = (band.day * 0.66).min(46.0);
        scene.rect(
            bar_class("bar", scope.days.get(place)),
            (band.middle(place) - bar / 2.0, axis.at(level)),
            (bar, second_bottom - axis.at(level)),
        );
        if band.day >= 46.0 {
            scene.text(
                "on-bar",
                (band.middle(place), axis.at(level) + 14.0),
                language.share(level),
            );
        }
    }
    if let Some(target) = target {
        let (left, right, y) = (Px(band.left), Px(band.right()), Px(axis.at(target)));
        scene.paths.push(Path { d: format!("M{left} {y}H{right}"), class: "target" });
    }
    band.label_days(&mut scene, &scope.days, words, second_bottom + 18.0);
    for (place, day) in scope.days.iter().enumerate() {
        let shown = language.render_day(day, |totals| {
            vec![
                (words.median, language.duration_or_none(totals.response_seconds_p50)),
                (words.p90, language.duration_or_none(totals.response_seconds_p90)),
                (words.service_level, language.share_or_none(totals.service_level)),
            ]
        });
        scene.hover(shown, (band.start(place), top), (band.day, second_bottom - top));
    }
    scene
}

/// The turns without an answer, by day.
pub(super) fn unanswered(scope: &Scope, language: Language) -> Vec<Scene> {
    WIDTHS.iter().map(|(class, width)| unanswered_at(scope, language, class, *width)).collect()
}

fn unanswered_at(scope: &Scope, language: Language, class: &'static str, width: f64) -> Scene {
    let words = language.words();
    let (top, bottom) = (14.0, 154.0);
    let mut scene = Scene::new(class, width, bottom + 42.0);
    let band = Band::of(scope.days.len(), 62.0, width);
    band.draw_days(&mut scene, scope, (top, bottom));
    let both = |totals: &Totals| totals.unanswered_first + totals.unanswered_later;
    let totals = || {
        scope.days.iter().enumerate().filter_map(|(place, day)| Some((place, day.totals.as_ref()?)))
    };
    let ticks = scale::count_ticks(
        totals().map(|(_, totals)| both(totals)).max().unwrap_or_default().unsigned_abs(),
    );
    let axis = Axis::linear((0.0, ticks.last().copied().unwrap_or(1) as f64), (bottom, top));
    for tick in &ticks {
        let y = axis.at(*tick as f64);
        scene.rule((band.left, band.right()), y);
        scene.text("tick", (band.left - 8.0, y + 4.0), language.count(tick.cast_signed()));
    }
    for (place, totals) in totals() {
        let bar = (band.day * 0.66).min(46.0);
        let x = band.middle(place) - bar / 2.0;
        let (first, all) = (axis.at(totals.unanswered_first as f64), axis.at(both(totals) as f64));
        let day = scope.days.get(place);
        scene.rect(bar_class("later", day), (x, all), (bar, first - all));
        scene.rect(bar_class("first", day), (x, first), (bar, bottom - first));
    }
    band.label_days(&mut scene, &scope.days, words, bottom + 18.0);
    for (place, day) in scope.days.iter().enumerate() {
        let shown = language.render_day(day, |totals| {
            vec![
                (words.unanswered_first, language.count(totals.unanswered_first)),
                (words.unanswered_later, language.count(totals.unanswered_later)),
            ]
        });
        scene.hover(shown, (band.start(place), top), (band.day, bottom - top));
    }
    scene
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_leads_over_a_day_that_is_not_there() {
        let mut scene = Scene::new("wide", 108.0, 10.0);
        let band = Band::of(4, 0.0, 108.0);
        band.draw_line(
            &mut scene,
            ("line typical", "mark typical-mark"),
            &[Some(1.0), Some(2.0), None, Some(3.0)],
        );
        assert_eq!(scene.paths[0].d, "M12.5 1L37.5 2M87.5 3");
        assert_eq!(scene.paths.len(), 1 + 3, "a mark for each value");
    }

    #[test]
    fn places_are_short() {
        assert_eq!(
            [Px(1.0).to_string(), Px(0.123).to_string(), Px(-0.01).to_string()],
            ["1", "0.1", "0"]
        );
    }
}
