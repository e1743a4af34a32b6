// openai-node, unmodified: upload → job → events → result file → chat with the tuned model → delete.
import fs from "node:fs";
import OpenAI from "openai";
import assert from "node:assert";

const client = new OpenAI();
const file = await client.files.create({ file: fs.createReadStream(process.env.DATA), purpose: "fine-tune" });
let job = await client.fineTuning.jobs.create({ model: "tiny", training_file: file.id, suffix: "node", hyperparameters: { n_epochs: 1 } });
while (!["succeeded", "failed", "cancelled"].includes(job.status)) {
  await new Promise(done => setTimeout(done, 500));
  job = await client.fineTuning.jobs.retrieve(job.id);
}
assert.equal(job.status, "succeeded", JSON.stringify(job.error));
const events = [];
for await (const event of client.fineTuning.jobs.listEvents(job.id, { limit: 3 })) events.push(event.message);
assert.equal(events[0], "The job has successfully completed");
const csv = await (await client.files.content(job.result_files[0])).text();
assert(csv.startsWith("step,train_loss"));
const ask = { model: job.fine_tuned_model, messages: [{ role: "user", content: "apple 1" }], max_tokens: 8, temperature: 0, seed: 1 };
const whole = await client.chat.completions.create(ask);
let text = "";
for await (const chunk of await client.chat.completions.create({ ...ask, stream: true })) text += chunk.choices[0]?.delta?.content ?? "";
assert.equal(text, whole.choices[0].message.content);
assert((await client.models.delete(job.fine_tuned_model)).deleted);
assert((await client.files.delete(file.id)).deleted);
console.log("openai-node: " + job.fine_tuned_model);
