using NUnit.Framework;
using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Engine.Optimizers;
using Saturn.Kernels;
using Saturn.Kernels.Cpu;
using Saturn.Layers;
using Saturn.Training;
using Saturn.Training.Data;

namespace Saturn.Tests.Training;

/// <summary>The synthetic shapes are no task for a linear classifier: softmax regression on the normalised pixels.</summary>
public sealed class SyntheticDatasetTests
{
    private const int Batch = 100;

    [Test]
    public void A_linear_classifier_learns_its_training_images_by_heart_and_little_else()
    {
        var (training, validation) = SyntheticDataset.Generate(1000, 1000);
        using CpuDevice device = new(workers: 2);
        using Linear classifier = new(device, training.Height * training.Width * training.Channels, training.Classes);
        device.Clear(classifier.Weight.Value.Buffer);
        device.Clear(classifier.Bias!.Value.Buffer);
        using Adam optimizer = new([new ParameterGroup(classifier.Parameters, learningRate: 1e-3)]);
        Train(device, classifier, optimizer, training, steps: 400);

        // Otherwise the second figure would say nothing.
        Assert.That(Accuracy(device, classifier, training), Is.GreaterThan(0.9), "training images");
        Assert.That(Accuracy(device, classifier, validation), Is.LessThan(0.6), "validation images");
    }

    private static void Train(Device device, Module network, Optimizer optimizer, ImageDataset training, int steps)
    {
        BatchAssembler assembler = new(training);
        int step = 0;
        for (int epoch = 0; step < steps; epoch++)
        {
            using TrainingBatches batches = new(training, assembler, Batch, epoch, 0, 1, augment: false);
            using Tensor images = Tensor.AllocateUnscoped(device, new Shape(Batch, training.Height, training.Width, training.Channels));
            using Tensor labels = Tensor.AllocateUnscoped(device, new Shape(Batch), ElementType.Int32);
            for (int b = 0; b < batches.Count && step < steps; b++, step++)
            {
                using TensorScope scope = new();
                batches.Next(images, labels);
                Operation.SoftmaxCrossEntropy(network.Forward(Operation.Flatten(images)), labels).Backward();
                optimizer.Step();
            }
        }
    }

    private static double Accuracy(Device device, Module network, ImageDataset dataset)
    {
        int seen = 0;
        int right = 0;
        using InferenceScope inference = new();
        Evaluator.ForEachBatch(device, dataset, [.. Enumerable.Range(0, dataset.Count)], Batch, (images, _) =>
        {
            foreach (float[] scores in network.Forward(Operation.Flatten(images)).ToArray().Chunk(dataset.Classes))
            {
                right += Array.IndexOf(scores, scores.Max()) == dataset.Labels[seen++] ? 1 : 0;
            }
        });
        return (double)right / seen;
    }
}
