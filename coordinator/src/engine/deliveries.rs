//! Images on their way to the final repository, once all of a build is stored.

use std::time::Duration;

use slipway_config::ImageName;
use slipway_protocol::{Delivery, Job, Requirements};
use slipway_stages::build::{BuildFailure, BuiltImage, JobKey};

use super::{BuildId, Event, Message, Owner, Subscriber, jobs::Wanted, traces::keys};
use crate::{
    effect::{self, Undelivered},
    scheduler::{self, End, Near, Want, estimates::Class},
};

/// A build whose images are being delivered.
pub(super) struct Delivering {
    images: Vec<BuiltImage>,
    /// Copies under way.
    left: Vec<JobKey>,
}

impl Owner {
    /// All is stored and recorded: finds out what else there is to do.
    pub(super) fn bring_to_run(&mut self, id: BuildId, result: Result<Vec<BuiltImage>, BuildFailure>) {
        let images = match result {
            Ok(images) => images,
            failed @ Err(_) => return self.builds.finish(id, failed),
        };
        let first = images.iter().find_map(|image| image.names.first()).cloned();
        let outside = self.builds.outside(id).filter(|outside| outside.push_to.is_some());
        let (Some(image), Some(outside)) = (first, outside) else { return self.builds.finish(id, Ok(images)) };
        self.builds.recording(id);
        let work = async move {
            let found = async {
                let images = effect::indexed(&outside, images).await?;
                let found = effect::undelivered(&outside, &images).await?;
                Ok((images, found))
            };
            Message::Undelivered(id, found.await)
        };
        self.later(work, move |why| Message::Undelivered(id, Err(BuildFailure::Unanswered { image, why })));
    }

    /// Wants what is missing in the final repository.
    pub(super) fn undelivered(&mut self, id: BuildId, found: Result<(Vec<BuiltImage>, Undelivered), BuildFailure>) {
        let (mut images, Undelivered { missing, notice }) = match found {
            Ok(found) => found,
            Err(failure) => return self.builds.finish(id, Err(failure)),
        };
        if let Some(notice) = notice {
            self.builds.tell(id, Event::Notice(notice));
        }
        if let (true, Some((image, kind, delivery))) = (self.builds.requires_built(id), missing.first()) {
            let digest = delivery.tag.split_once('-').map_or(delivery.tag.as_str(), |(digest, _)| digest);
            let (image, kind, digest) = (image.clone(), *kind, digest.to_owned());
            return self.builds.finish(id, Err(BuildFailure::StageRequired { image, kind, digest }));
        }
        let wanted: Vec<(JobKey, ImageName, Delivery)> =
            missing.into_iter().map(|(image, _, delivery)| (key(&delivery), image, delivery)).collect();
        let outside = self.builds.outside(id);
        let final_repo = outside.and_then(|outside| Some(outside.beside.final_repo.as_ref()?.repo().clone()));
        images.iter_mut().filter(|image| image.is_run()).for_each(|image| image.final_repo.clone_from(&final_repo));
        let left = wanted.iter().map(|(key, ..)| key.clone()).collect();
        self.builds.delivering(id, Delivering { images, left });
        for (key, image, delivery) in wanted {
            self.want_delivery(id, key, image, delivery);
        }
        self.finish_if_delivered(id);
    }

    fn want_delivery(&mut self, id: BuildId, key: JobKey, image: ImageName, delivery: Delivery) {
        let class = Class { project: self.builds.project(id), image: String::new(), kind: "deliver".to_owned() };
        let near = vec![Near { image: delivery.image.digest.clone(), bytes: 0 }];
        let want = Want { rank: Duration::ZERO, class, requires: Requirements::default(), near };
        let about = vec![(keys::STAGE, "deliver".to_owned()), (keys::IMAGE, image.to_string())];
        let subscriber = Subscriber::Delivery(id, key.clone(), image);
        self.want(id, &key, Wanted { job: Job::Deliver(Box::new(delivery)), want, subscriber, about });
    }

    /// A copy has ended.
    pub(super) fn delivered(&mut self, id: BuildId, key: &JobKey, image: ImageName, end: &End) {
        let why = match end {
            End::Delivered => None,
            End::Failed(failure) => Some(failure.why.clone()),
            End::Summed(_) | End::Settled(..) => Some("the job ended as another".to_owned()),
        };
        if let Some(why) = why {
            self.drop_deliveries(id);
            return self.builds.finish(id, Err(BuildFailure::Unanswered { image, why }));
        }
        self.builds.has_delivered(id, key);
        self.finish_if_delivered(id);
    }

    /// Nobody waits any more for what a build still delivers.
    pub(super) fn drop_deliveries(&mut self, build: BuildId) {
        let of_build = |(number, subscriber): (&scheduler::Subscriber, &Subscriber)| match subscriber {
            Subscriber::Delivery(of, key, _) if *of == build => Some((*number, key.clone())),
            Subscriber::Delivery(..) | Subscriber::Question(..) | Subscriber::Build(..) => None,
        };
        let dropped: Vec<(scheduler::Subscriber, JobKey)> = self.subscribers.iter().filter_map(of_build).collect();
        dropped.iter().for_each(|(subscriber, key)| self.unsubscribe(build, *subscriber, key));
    }

    fn finish_if_delivered(&mut self, id: BuildId) {
        if let Some(images) = self.builds.all_delivered(id) {
            self.tag(id, images);
        }
    }

    /// Gives the images their further tags; then the build is over.
    fn tag(&mut self, id: BuildId, images: Vec<BuiltImage>) {
        let outside = self.builds.outside(id).filter(|outside| outside.custom_tags.is_some());
        let first = images.iter().find_map(|image| image.names.first()).cloned();
        let (Some(outside), Some(image)) = (outside, first) else { return self.builds.finish(id, Ok(images)) };
        let only_check = self.builds.requires_built(id);
        let work = async move {
            let tagged = effect::custom_tags(&outside, &images, only_check).await;
            Message::Tagged(id, tagged.map(|()| images))
        };
        self.later(work, move |why| Message::Tagged(id, Err(BuildFailure::Unanswered { image, why })));
    }
}

impl Delivering {
    /// A copy is done.
    pub(super) fn done(&mut self, key: &JobKey) {
        self.left.retain(|left| left != key);
    }

    /// The images, when all are where they run from.
    pub(super) fn images(&mut self) -> Option<Vec<BuiltImage>> {
        self.left.is_empty().then(|| std::mem::take(&mut self.images))
    }
}

/// Equal copies have equal keys: builds share them.
fn key(delivery: &Delivery) -> JobKey {
    JobKey(format!("deliver {} to {}", delivery.tag, delivery.to).into())
}
