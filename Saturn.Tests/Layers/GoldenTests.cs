using NUnit.Framework;
using Saturn.Engine;
using Saturn.Engine.Checkpoints;
using Saturn.Engine.Operations;
using Saturn.Engine.Optimizers;
using Saturn.Kernels;
using Saturn.Layers;
using Saturn.Layers.Models;
using Saturn.Tests.Engine;

namespace Saturn.Tests.Layers;

/// <summary>
/// Networks that PyTorch has run, weights file included: tools/peers/export_golden.py writes the files of the folder Golden.
/// </summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class GoldenTests(string device) : EngineTest(device)
{
    private static readonly object[] Networks =
    [
        new object[] { new ModelRecipe("resnet18", 2, 10, 16, 16, 3), 4 },
        new object[] { new ModelRecipe("resnet50", 1, 5, 72, 72, 3), 8 },
        new object[] { new ModelRecipe("vgg16", 1, 7, 64, 64, 3), 4 },
    ];

    [TestCaseSource(nameof(Networks))]
    public void Computes_and_trains_as_in_PyTorch(ModelRecipe recipe, int batch)
    {
        string folder = Path.Combine(TestContext.CurrentContext.TestDirectory, "Layers", "Golden");
        Dictionary<string, SafeTensor> expected = SafeTensors.Read(Path.Combine(folder, recipe.Name + ".expected.safetensors"));
        using Model model = ModelFactory.Create(recipe, Device);
        ModelWeights.Load(model, Path.Combine(folder, recipe.Name + ".safetensors"));
        int[] labels = [.. Enumerable.Range(0, batch).Select(n => 3 * n % recipe.Classes)];
        float[] images = Images(recipe.InputShape(batch));

        AssertClose(Logits(model, images, batch), expected["logits"].Values, 1e-5, "logits");
        float[] losses = Train(model, images, labels);
        AssertClose(losses, expected["losses"].Values, 3e-4, "losses");
        if (recipe.Name != "resnet50")
        {
            // Fifty layers of width 1 amplify a rounding difference of one sum to percents of these logits within five steps; the losses above bind its training.
            AssertClose(Logits(model, images, batch), expected["trained_logits"].Values, 1e-3, "logits after training");
        }
    }

    private static float[] Train(Model model, float[] images, int[] labels)
    {
        using Sgd optimizer = new([new ParameterGroup(model.Parameters.Where(parameter => parameter.IsTrained), 0.002, 5e-4)], 0.9);
        model.SetTraining(true);
        float[] losses = new float[5];
        for (int step = 0; step < losses.Length; step++)
        {
            using TensorScope scope = new();
            model.BeginStep(step);
            Tensor loss = Operation.SoftmaxCrossEntropy(
                model.Forward(Tensor.FromValues(model.Device, model.Recipe.InputShape(labels.Length), images)), Tensor.FromValues(model.Device, labels));
            losses[step] = loss.ToScalar();
            optimizer.ClearGradients();
            loss.Backward();
            optimizer.Step();
        }

        return losses;
    }

    private static float[] Logits(Model model, float[] images, int batch)
    {
        model.SetTraining(false);
        using InferenceScope inference = new();
        using TensorScope scope = new();
        return model.Forward(Tensor.FromValues(model.Device, model.Recipe.InputShape(batch), images)).ToArray();
    }

    /// <summary>NHWC images by the script's formula over the NCHW index.</summary>
    private static float[] Images(Shape shape)
    {
        float[] values = new float[shape.ElementCount];
        int next = 0;
        for (int n = 0; n < shape[0]; n++)
        {
            for (int h = 0; h < shape[1]; h++)
            {
                for (int w = 0; w < shape[2]; w++)
                {
                    for (int c = 0; c < shape[3]; c++)
                    {
                        values[next++] = (float)Math.Sin((0.1 + 0.05 * n) * (((n * shape[3] + c) * shape[1] + h) * shape[2] + w));
                    }
                }
            }
        }

        return values;
    }

    private static void AssertClose(float[] actual, float[] expected, double tolerance, string what)
    {
        Assert.That(actual, Has.Length.EqualTo(expected.Length), what);
        double largest = actual.Zip(expected, (a, e) => Math.Abs(a - e)).Max();
        TestContext.Out.WriteLine($"{what}: largest difference {largest:g3}");
        Assert.That(largest, Is.LessThan(tolerance), $"{what} against PyTorch's; ours {string.Join(", ", actual.Take(5))}, theirs {string.Join(", ", expected.Take(5))}");
    }
}
