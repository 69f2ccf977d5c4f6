// kafkajs: sends lines of key<TAB>value, or prints the committed records of a topic
// as such lines.
//
// node kafka.js produce|legacy|consume BROKERS TOPIC
const { Kafka, Partitioners, logLevel } = require('kafkajs')
const readline = require('readline')

const [what, brokers, topic] = process.argv.slice(2)
const kafka = new Kafka({ clientId: 'kafkajs', brokers: brokers.split(','), logLevel: logLevel.ERROR })

async function produce (options) {
  const producer = kafka.producer(options)
  await producer.connect()
  const messages = []
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const tab = line.indexOf('\t')
    messages.push({ key: line.slice(0, tab), value: line.slice(tab + 1) })
  }
  await producer.send({ topic, messages })
  await producer.disconnect()
}

async function consume () {
  const admin = kafka.admin()
  await admin.connect()
  const left = new Map()
  for (const { partition, low, high } of await admin.fetchTopicOffsets(topic)) {
    if (low !== high) left.set(partition, BigInt(high))
  }
  await admin.disconnect()
  const consumer = kafka.consumer({ groupId: 'kafkajs-' + process.pid }) // read_committed is its default
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await new Promise((resolve, reject) => {
    consumer.on(consumer.events.CRASH, e => reject(e.payload.error))
    // kafkajs does not say where it stands. What the engine wrote last on a
    // partition is followed by one marker, the end of its transaction.
    consumer.on(consumer.events.END_BATCH_PROCESS, ({ payload }) => {
      if (BigInt(payload.lastOffset) + 2n >= (left.get(payload.partition) ?? 0n)) left.delete(payload.partition)
      if (left.size === 0) resolve()
    })
    consumer.run({
      eachBatch: async ({ batch, resolveOffset }) => {
        for (const m of batch.messages) {
          process.stdout.write(`${m.key}\t${m.value}\n`)
          resolveOffset(m.offset)
        }
      }
    })
  })
  await consumer.disconnect()
}

const run = {
  produce: () => produce({}),
  legacy: () => produce({ createPartitioner: Partitioners.LegacyPartitioner }),
  consume
}[what]
run().catch(e => { console.error(String(e)); process.exit(1) })
